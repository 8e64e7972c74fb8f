"""The running monitor: builds, starts and stops every part."""
