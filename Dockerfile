# The project's own bot, monitored by cogmeter. Build it with `docker build -t cogmeter .`, and run it with
#   docker run -d --env-file .env -v cogmeter:/data/performance -p 127.0.0.1:3000-3001:3000-3001 cogmeter
# With PERFORMANCE_HTTP_TOKEN in .env, the dashboard is then at http://localhost:3001/performance, and the API, health
# and metrics are at port 3000; without a token they are served inside the container alone.
# Append other commands to the image's name: `docker run --rm cogmeter --help`. For a running container use
# `docker exec -it <container> cogmeter summary`, `dashboard` and so on.

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY assets assets
COPY storage storage
COPY cogs cogs
COPY bot bot
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/cogmeter \
    && /opt/cogmeter/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[otlp,postgres,tui]"

FROM python:3.11-slim
# Fonts of charts for names that are not Latin, Greek, Cyrillic, Arabic or Hebrew; a name that no font has is replaced.
# `docker build --build-arg FONTS="fonts-noto-cjk fonts-symbola" .` adds Chinese, Japanese and Korean (91 MB installed)
# and emoji (3 MB).
ARG FONTS=""
RUN if [ -n "$FONTS" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends $FONTS && rm -rf /var/lib/apt/lists/*; \
    fi
RUN useradd --system --uid 10001 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin cogmeter \
    && install --directory --owner=cogmeter --group=cogmeter /data/performance
COPY --from=build /opt/cogmeter /opt/cogmeter
ENV PATH=/opt/cogmeter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    COGMETER_IN_CONTAINER=1 \
    ENABLE_ANALYTICS_DASHBOARD=true \
    PERFORMANCE_HTTP_PORT=3000 \
    PERFORMANCE_DATABASE_URL=sqlite:////data/performance/performance.db
USER cogmeter
WORKDIR /data
VOLUME /data/performance
EXPOSE 3000 3001
# The check does not use the port, which can be another one or closed. It reads the status that the bot stores in its
# database every 15 s.
HEALTHCHECK --interval=60s --timeout=20s --start-period=90s --retries=3 CMD ["cogmeter", "health"]
ENTRYPOINT ["cogmeter"]
CMD ["run"]
