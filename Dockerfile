# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/rollbackd
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN /opt/rollbackd/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY rollbackd rollbackd
RUN /opt/rollbackd/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/rollbackd/bin/python -m compileall -q /opt/rollbackd/lib

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 rollbackd \
 && useradd --uid 10001 --shell /usr/sbin/nologin --gid rollbackd --home-dir /data --no-create-home rollbackd \
 && install -d -o rollbackd -g rollbackd -m 0700 /data
COPY --from=build /opt/rollbackd /opt/rollbackd
# A shell of `fly ssh console` may not have our PATH.
RUN ln -s /opt/rollbackd/bin/rollbackd /usr/local/bin/rollbackd
COPY config /etc/rollbackd
COPY deploy/entrypoint.sh /usr/local/bin/rollbackd-entrypoint
ENV PATH=/opt/rollbackd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROLLBACKD_CONFIG=/etc/rollbackd \
    ROLLBACKD_STATE=/data \
    ROLLBACKD_METRICS_LISTEN=[::]:9090
WORKDIR /data
STOPSIGNAL SIGTERM
EXPOSE 9090
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9090/healthz', timeout=4)"]
# Starts as root only to give the volume to uid 10001, then runs as that user: a Fly volume is
# mounted as root's, and fly.toml cannot say otherwise (docs/adr/0003-non-root-on-a-volume.md).
ENTRYPOINT ["rollbackd-entrypoint"]
CMD ["rollbackd", "run"]
