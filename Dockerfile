# The service. One image runs the API, the mailer and the migrations; which of them is said by the command.

FROM python:3.13-slim AS build
WORKDIR /app

# The environment is made without pip in it: nothing can be installed into a running container.
RUN python -m venv --without-pip /venv
COPY deploy/requirements.txt deploy/requirements.txt
# Wheels only: there is no compiler here, and no package gets to run code of its own while it is installed.
RUN python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --require-hashes --no-deps --only-binary :all: --requirement deploy/requirements.txt

COPY manage.py ./
COPY deploy/gunicorn.conf.py deploy/gunicorn.conf.py
COPY migrations migrations
COPY src src
# The service may not write, so its bytecode is made here. It also has to be able to read what a checkout under a strict
# umask keeps to its owner.
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

# A number and not a name, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 5000
STOPSIGNAL SIGTERM
# Without proxies: where the environment names one, it is not the way to ourselves.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["python", "-I", "-c", "\
import os, urllib.request as web; \
web.build_opener(web.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"HTTP_PORT\"]}/health/live', timeout=3)"]
CMD ["python", "manage.py", "api"]
