# Image of the service. The command decides whether it runs the API, the mail worker or the migrations.

FROM python:3.13-slim AS build
WORKDIR /app

# The environment has no pip, so nothing can be installed into a running container.
RUN python -m venv --without-pip /venv
COPY deploy/requirements.txt deploy/requirements.txt
# Wheels only: the image has no compiler, and no package can run code during its installation (supply chain).
RUN python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --require-hashes --no-deps --only-binary :all: --requirement deploy/requirements.txt

COPY manage.py ./
COPY deploy/gunicorn.conf.py deploy/gunicorn.conf.py
COPY migrations migrations
COPY src src
# The service cannot write files, so bytecode is compiled here. It runs as another user, so files of a checkout with a
# strict umask have to become readable.
RUN python -m compileall -q manage.py migrations src && chmod -R a+rX /app


FROM python:3.13-slim
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=5000
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app

# A number instead of a name, so that orchestrators can verify that it is not root.
USER 10001:10001
EXPOSE 5000
STOPSIGNAL SIGTERM
# Without proxies: a proxy that the environment names cannot reach the container itself.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["python", "-I", "-c", "\
import os, urllib.request as web; \
web.build_opener(web.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"HTTP_PORT\"]}/health/live', timeout=3)"]
CMD ["python", "manage.py", "api"]
