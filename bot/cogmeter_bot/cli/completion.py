"""``cogmeter completion``: what a shell needs to complete the command's names and options."""

from __future__ import annotations

from typing import Final

import click

SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes commands and names.

    \b
    bash: cogmeter completion bash > ~/.local/share/bash-completion/completions/cogmeter
    zsh:  cogmeter completion zsh > "${fpath[1]}/_cogmeter"
    fish: cogmeter completion fish > ~/.config/fish/completions/cogmeter.fish
    """  # noqa: D301 - click wants the sign \b itself: the lines below it are not joined
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    command = click.get_current_context().find_root().command
    made = found(command, {}, "cogmeter", "_COGMETER_COMPLETE")
    click.echo(made.source_template % made.source_vars())  # source() would start the shell, to see its version
