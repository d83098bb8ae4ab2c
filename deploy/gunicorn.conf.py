"""Configuration of gunicorn, for production and development."""

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from datetime import timedelta
from typing import Any

from auth_service.adapters import listening
from auth_service.settings import Settings, SettingsRefused


def read_settings() -> Settings:
    """Read the settings; end with the invalid ones, instead of a traceback of gunicorn."""
    try:
        return Settings.read().completed()
    except SettingsRefused as error:
        refused = str(error)
    sys.exit(f"The settings are invalid:\n{refused}")


settings: Settings = read_settings()

bind = listening.address(settings.http_host, settings.http_port)
workers = settings.web_workers
threads = settings.web_threads
# Per worker; further connections wait in the queue of the listener.
worker_connections = 1200
worker_class = "auth_service.server.gunicorn_worker.Worker"
wsgi_app = "auth_service.server.wsgi:application()"
preload_app = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108 - no disk I/O for heartbeats
graceful_timeout = 25
timeout = 30
keepalive = 5
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
sendfile = False  # it bypasses the time limits of `ClientSocket`
forwarded_allow_ips = ""  # the application determines the client address itself, by TRUSTED_PROXIES
control_socket_disable = True
# Each worker has a listening socket of its own: on a shared one, the faster worker can accept most connections, which
# halves the throughput. With SO_REUSEPORT other processes of this user can also listen: see `on_starting`.
reuse_port = True
loglevel = "warning"
logger_class = "auth_service.server.wsgi.Logger"

if settings.metrics_port is not None:
    # Workers store their counters in files that the master adds up. Set before the first metric is created.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="auth-metrics-")


def on_starting(server: Any) -> None:
    # A second API on this port would silently get half of the requests. Workers of a killed master end within seconds,
    # hence the patience. After SIGUSR2 the old master is still running, which is intended.
    if "GUNICORN_PID" not in os.environ and listening.is_taken(
        settings.http_host, settings.http_port, patience=timedelta(seconds=5)
    ):
        on_exit(server)
        sys.exit(f"HTTP_PORT: something else listens on {bind}.")


def when_ready(server: Any) -> None:
    from auth_service.api.http import metrics  # noqa: PLC0415 - after PROMETHEUS_MULTIPROC_DIR is set

    gc.freeze()  # the garbage collector ignores what was loaded before the fork, so its memory stays shared
    if settings.metrics_port is not None:
        metrics.serve(server.app.wsgi(), host=settings.metrics_host, port=settings.metrics_port)
    drain_before_stopping(server)


def drain_before_stopping(server: Any) -> None:
    """On SIGTERM answer 503 at `/health/ready`, and serve requests until load balancers have noticed."""
    from auth_service.api.ops import draining  # noqa: PLC0415

    stop = server.handle_term

    def stop_now() -> None:
        server.handle_term = stop
        os.kill(os.getpid(), signal.SIGTERM)

    def drain() -> None:
        if not draining.started():
            draining.start()
            threading.Timer(settings.drain_seconds.total_seconds(), stop_now).start()

    server.handle_term = drain


def post_fork(server: Any, worker: Any) -> None:
    from auth_service.server.wsgi import forget_connections  # noqa: PLC0415

    forget_connections(server.app.wsgi())


def child_exit(server: Any, worker: Any) -> None:
    if settings.metrics_port is not None:
        from prometheus_client import multiprocess  # noqa: PLC0415

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    if settings.metrics_port is not None:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
