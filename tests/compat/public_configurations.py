"""Configurations of public projects as facts: which options they set, to what, in which format.

Each is a project, a path in it, what it sets, and what is to be found here: settings, and words of
the notes. ``ini``, ``yaml`` and ``xml`` are written from pairs, ``python`` from assignments.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Public(NamedTuple):
    """One configuration of a public project."""

    project: str
    path: str
    form: str
    sets: list[tuple[str, str]]
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()


UWSGI = (
    Public(
        "healthchecks/healthchecks", "docker/uwsgi.ini", "ini",
        [("master", ""), ("die-on-term", ""), ("http-socket", ":8000"), ("harakiri", "10"),
         ("post-buffering", "4096"), ("processes", "4"), ("enable-threads", ""), ("threads", "1"),
         ("chdir", "/opt/healthchecks"), ("module", "hc.wsgi:application"), ("thunder-lock", ""),
         ("disable-write-exception", ""), ("max-fd", "10000"),
         ("hook-pre-app", "exec:./manage.py migrate"),
         ("attach-daemon", "./manage.py sendalerts"),
         ("if-env", "SMTPD_PORT"), ("attach-daemon", "./manage.py smtpd --port %(_)"),
         ("endif", " ")],
        {"wsgi_app": "hc.wsgi:application", "bind": [":8000"], "timeout": 10, "workers": 4,
         "threads": 1, "chdir": "/opt/healthchecks", "accesslog": "-"},
        ("LimitNOFILE", "service of its own", "before the server starts", "if-env = SMTPD_PORT")),
    Public(
        "searxng/searxng", "dockerfiles/uwsgi.ini", "ini",
        [("uid", "searxng"), ("gid", "searxng"), ("workers", "%k"), ("threads", "4"),
         ("chmod-socket", "666"), ("single-interpreter", "true"), ("master", "true"),
         ("plugin", "python3"), ("lazy-apps", "true"), ("enable-threads", "true"),
         ("module", "searx.webapp"), ("pythonpath", "/usr/local/searxng/"),
         ("chdir", "/usr/local/searxng/searx/"), ("auto-procname", "true"),
         ("disable-logging", "true"), ("log-5xx", "true"), ("buffer-size", "8192"),
         ("add-header", "Connection: close"),
         ("static-map", "/static=/usr/local/searxng/searx/static"),
         ("static-expires", "/* 31557600"), ("static-gzip-all", "True"),
         ("offload-threads", "%k")],
        {"wsgi_app": "searx.webapp:application", "workers": "auto", "threads": 4,
         "user": "searxng", "group": "searxng", "pythonpath": ["/usr/local/searxng/"],
         "chdir": "/usr/local/searxng/searx/", "limit_request_line": 8192,
         "limit_request_field_size": 8192},
        ("add fields", "static files", "timeout = 0")),
    Public(
        "sissbruecker/linkding", "uwsgi.ini", "ini",
        [("http", ":9090"), ("chdir", "/etc/linkding"), ("module", "siteroot.wsgi:application"),
         ("env", "DJANGO_SETTINGS_MODULE=siteroot.settings.prod"), ("static-map", "/static=static"),
         ("processes", "4"), ("threads", "2"), ("pidfile", "/tmp/linkding.pid"),
         ("vacuum", "True"), ("stats", "127.0.0.1:9191"), ("uid", "www-data"),
         ("gid", "www-data"), ("buffer-size", "8192"), ("if-env", "LD_REQUEST_TIMEOUT"),
         ("http-timeout", "%(_)"), ("socket-timeout", "%(_)"), ("harakiri", "%(_)"),
         ("endif", " ")],
        {"bind": [":9090"], "raw_env": ["DJANGO_SETTINGS_MODULE=siteroot.settings.prod"],
         "workers": 4, "threads": 2, "pidfile": "/tmp/linkding.pid", "user": "www-data",
         "group": "www-data", "wsgi_app": "siteroot.wsgi:application", "accesslog": "-"},
        ("harakiri = %(_): holds only if-env = LD_REQUEST_TIMEOUT", "metrics")),
    Public(
        "saleor/saleor", "saleor/wsgi/uwsgi.ini", "ini",
        [("die-on-term", "true"), ("http-socket", ":$(PORT)"), ("master", "true"),
         ("memory-report", "true"), ("module", "saleor.wsgi:application"), ("processes", "4"),
         ("static-map", "/static=/app/static")],
        {"bind": [":7777"], "wsgi_app": "saleor.wsgi:application", "workers": 4}, ("metrics",)),
    Public(
        "netbox-community/netbox", "contrib/uwsgi.ini", "ini",
        [("strict", "true"), ("master", "true"), ("vacuum", "true"), ("need-app", "true")],
        {"accesslog": "-"}, ("preload_app",)),
    Public(
        "ajnisbet/opentopodata", "docker/uwsgi.ini", "ini",
        [("strict", "true"), ("need-app", "true"), ("socket", "/tmp/uwsgi.sock"),
         ("chown-socket", "www-data:www-data"), ("chmod-socket", "664"), ("vacuum", "true"),
         ("uid", "www-data"), ("gid", "www-data"), ("master", "true"),
         ("wsgi-file", "/app/opentopodata/api.py"), ("callable", "app"),
         ("manage-script-name", "true"), ("die-on-term", "true"), ("buffer-size", "65535"),
         ("max-requests", "10000"), ("max-worker-lifetime", "3600"),
         ("worker-reload-mercy", "20"), ("reload-on-rss", "512"), ("reload-on-as", "512")],
        {"bind": ["uwsgi://unix:/tmp/uwsgi.sock"], "wsgi_app": "api:app",
         "pythonpath": ["/app/opentopodata"], "limit_request_field_size": 65535,
         "max_requests": 10000, "max_lifetime": 3600, "graceful_timeout": 20, "max_rss": 512},
        ("SocketUser=", "address space", "umask", "proxy_pass")),
    Public(
        "CERT-Polska/mwdb-core", "docker/uwsgi.ini", "ini",
        [("module", "malwarecage.app"), ("callable", "app"), ("uid", "nobody"),
         ("http11-socket", ":8080"), ("master", "true"),
         ("hook-master-start", "unix_signal:15 gracefully_kill_them_all"), ("need-app", "true"),
         ("die-on-term", "true")],
        {"wsgi_app": "malwarecage.app:app", "user": "nobody", "bind": [":8080"]}),
    Public(
        "MIT-LCP/physionet-build", "docker/uwsgi.ini", "ini",
        [("chdir", "/code/physionet-django"), ("http-socket", ":8000"), ("uwsgi-socket", ":8001"),
         ("module", "physionet.wsgi"), ("processes", "5"), ("uid", "root"), ("gid", "root"),
         ("disable-logging", "true"), ("log-4xx", "true"), ("thunder-lock", "true"),
         ("max-requests", "1000     ; a remark"), ("max-worker-lifetime", "3600 ; a remark"),
         ("reload-on-rss", "2048    ; a remark"), ("worker-reload-mercy", "60 ; a remark"),
         ("env", "JSON_LOGGING=ON"), ("logger", "default stdio"), ("log-route", "applogger {"),
         ("log-encoder", "nl"), ("logger-req", "stdio"),
         ("log-format", '"address":"%(addr)", "worker_id":%(wid), "method":"%(method)"')],
        {"bind": [":8000", "uwsgi://:8001"], "wsgi_app": "physionet.wsgi:application",
         "max_requests": 1000, "max_lifetime": 3600, "max_rss": 2048, "graceful_timeout": 60,
         "raw_env": ["JSON_LOGGING=ON"],
         "access_log_format": '"address":"%(h)s", "worker_id":-, "method":"%(m)s"'},
        ("gunicorn's form",)),
    Public(
        "SEED-platform/seed", "docker/uwsgi.ini", "ini",
        [("ini", ":base"), ("socket", "/tmp/uwsgi-seed.sock"), ("master", "true"),
         ("processes", "4"), ("max-requests", "5000"), ("uid", "1000"), ("gid", "1000"),
         ("cheaper-initial", "1"), ("harakiri", "600"), ("ignore-sigpipe", ""),
         ("ignore-write-errors", ""), ("[base]", ""), ("chdir", "/seed"),
         ("module", "config.wsgi:application"), ("chmod-socket", "666")],
        {"bind": ["uwsgi://unix:/tmp/uwsgi-seed.sock"], "workers": 4, "max_requests": 5000,
         "user": 1000, "group": 1000, "timeout": 600, "chdir": "/seed",
         "wsgi_app": "config.wsgi:application"}, ("number of workers is fixed",)),
    Public(
        "Dispatcharr/Dispatcharr", "docker/uwsgi.ini", "ini",
        [("exec-pre", "python /app/scripts/wait_for_redis.py"),
         ("attach-daemon", "redis-server --timeout $(REDIS_IDLE_TIMEOUT)"), ("chdir", "/app"),
         ("module", "dispatcharr.wsgi:application"), ("virtualenv", "/dispatcharrpy"),
         ("env", "USE_NGINX_ACCEL=true"), ("socket", "/app/uwsgi.sock"), ("chmod-socket", "777"),
         ("workers", "$(UWSGI_WORKERS)"), ("http", "0.0.0.0:5656"), ("http-keepalive", "1"),
         ("buffer-size", "65536  # a remark"), ("http-timeout", "600  # a remark"),
         ("socket-timeout", "600  # a remark"), ("gevent", "400  # a remark"),
         ("gevent-early-monkey-patch", "true"), ("import", "dispatcharr.gevent_patch"),
         ("disable-logging", "false"), ("log-date", "%%Y-%%m-%%d"),
         ("log-format", "%(ftime) INFO %(wid) %(method) %(status) %(uri) %(msecs)ms")],
        {"bind": ["uwsgi://unix:/app/uwsgi.sock", "0.0.0.0:5656"], "workers": "3",
         "body_timeout": 600, "write_timeout": 600, "accesslog": "-",
         "access_log_format": "%(t)s INFO - %(m)s %(s)s %(U)s %(M)sms"},
        ("PATH/bin/fastwsgi", "green threads", "import it in the module", "service of its own")),
    Public(
        "InQuest/ThreatKB", "uwsgi.yaml", "yaml",
        [("uid", "uwsgi"), ("master", "1"), ("workers", "10"), ("auto-procname", "1"),
         ("close-on-exec", "1"), ("reaper", "1"), ("max-requests", "1000"), ("module", "app"),
         ("callable", "app"), ("python-path", "/opt/threatkb"), ("ignore-sigpipe", "true"),
         ("http-timeout", "600"), ("harakiri", "600")],
        {"wsgi_app": "app:app", "workers": 10, "max_requests": 1000, "timeout": 600,
         "pythonpath": ["/opt/threatkb"]}, ("docker run --init",)),
    Public(
        "zalando-stups/lizzy", "uwsgi.yaml", "yaml",
        [("http", "0.0.0.0:8080"), ("http-timeout", "120"), ("module", "lizzy.wsgi"),
         ("logformat ", "UWSGI: %(method) %(uri) -> %(status)"), ("threads", "4")],
        {"bind": ["0.0.0.0:8080"], "wsgi_app": "lizzy.wsgi:application", "threads": 4,
         "access_log_format": "UWSGI: %(m)s %(U)s -> %(s)s"}, ("header_timeout",)),
    Public(
        "sapporo-wes/sapporo-service", "uwsgi.yml", "yaml",
        [("chdir", "/app"), ("module", "sapporo.uwsgi"), ("callable", "app"), ("strict", "true"),
         ("die-on-term", "true # a remark"), ("max-requests", "1000 # a remark"),
         ("max-worker-lifetime", "3600"), ("reload-on-rss", "2048"),
         ("procname-prefix", '"sapporo "'), ("harakiri", "60 # a remark"),
         ("workers", "4 # a remark"), ("threads", "2")],
        {"wsgi_app": "sapporo.uwsgi:app", "max_requests": 1000, "max_lifetime": 3600,
         "max_rss": 2048, "proc_name": "sapporo", "timeout": 60, "workers": 4, "threads": 2}),
    Public(
        "ProjectMeniscus/meniscus", "uwsgi.xml", "xml",
        [("socket", "localhost:8080"), ("protocol", "http"), ("master", "true"),
         ("vaccum", "true"), ("pythonpath", "./"), ("module", "meniscus.wsgi:application"),
         ("no-default-app", ""), ("processes", "12"), ("memory-report", "")],
        {"bind": ["localhost:8080"], "pythonpath": ["./"], "workers": 12,
         "wsgi_app": "meniscus.wsgi:application"}, ("did you mean vacuum?",)),
    Public(
        "isergey/libcms", "uwsgi.xml", "xml",
        [("socket", "127.0.0.1:3032"), ("plugins", "python"), ("pythonpath", "/var/www/libcms"),
         ("pythonpath", "/var/www/"), ("module", "wsgi"), ("processes", "4"),
         ("max-requests", "10"), ("buffer-size", "32768"), ("harakiri", "3600"),
         ("reload-mercy", "8"), ("master", "")],
        {"bind": ["uwsgi://127.0.0.1:3032"], "pythonpath": ["/var/www/libcms", "/var/www/"],
         "wsgi_app": "wsgi:application", "max_requests": 10, "limit_request_line": 32768,
         "limit_request_field_size": 32768, "timeout": 3600, "graceful_timeout": 8}),
    Public(
        "chriscauley/txrx.org", "uwsgi.xml", "xml",
        [("pythonpath", "/home/django/"), ("chdir", "/home/django/txrx.org"),
         ("socket", "127.0.0.1:3033"), ("plugin", "python"), ("harakiri", "180"),
         ("socket-timeout", "180"), ("pidfile", "/tmp/uwsgi.pid"),
         ("module", "django_uwsgi:application"), ("logto", "/home/django/uwsgi.log")],
        {"errorlog": "/home/django/uwsgi.log", "accesslog": "/home/django/uwsgi.log",
         "timeout": 180, "body_timeout": 180, "write_timeout": 180,
         "wsgi_app": "django_uwsgi:application"}),
)

GUNICORN = (
    Public(
        "heroku/python-getting-started", "gunicorn.conf.py", "python",
        [("bind", '["[::]:{}".format(os.environ.get("PORT", 5006))]'),
         ("worker_class", '"gthread"'), ("workers", 'os.environ.get("CONCURRENCY", 1)'),
         ("threads", "5"), ("preload_app", "True"), ("timeout", "20"),
         ("graceful_timeout", "20"), ("accesslog", '"-"'),
         ("access_log_format", "'method=%(m)s status=%(s)s duration=%(M)sms id=%({x-id}i)s'"),
         ("reuse_port", 'os.environ.get("ENVIRONMENT") != "development"')],
        {"bind": ["[::]:7777"], "workers": 1, "threads": 5, "preload_app": True,
         "reuse_port": True}, ("one kind of worker",)),
    Public(
        "tiangolo/meinheld-gunicorn-docker", "docker-images/gunicorn_conf.py", "python",
        [("workers_per_core_str", 'os.getenv("WORKERS_PER_CORE", "2")'),
         ("host", 'os.getenv("HOST_TO_BIND", "0.0.0.0")'), ("port", '"80"'),
         ("bind_env", 'os.getenv("BIND", None)'), ("use_loglevel", '"info"'),
         ("use_bind", 'bind_env or f"{host}:{port}"'), ("cores", "2"),
         ("default_web_concurrency", "float(workers_per_core_str) * cores"),
         ("web_concurrency", "int(default_web_concurrency)"), ("loglevel", "use_loglevel"),
         ("workers", "web_concurrency"), ("bind", "use_bind"), ("keepalive", "120"),
         ("errorlog", '"-"'),
         ("log_data", '{"workers": workers, "bind": bind, "level": loglevel}'),
         ("CHECKED", "str(log_data)")],
        {"workers": 4, "bind": "0.0.0.0:80", "keepalive": 120}, ("understood as it is",)),
    Public(
        "tiangolo/uvicorn-gunicorn-docker", "docker-images/gunicorn_conf.py", "python",
        [("worker_class_str", 'os.getenv("WORKER_CLASS", "uvicorn.workers.UvicornWorker")'),
         ("timeout_str", '"120"'), ("worker_tmp_dir", '"/dev/shm"'),
         ("worker_class", "worker_class_str"), ("timeout", "int(timeout_str)")],
        {"timeout": 120}, ("worker_class is computed", "no heartbeat file")),
    Public(
        "PostHog/posthog", "gunicorn.config.py", "python",
        [("loglevel", '"error"'), ("bind", '"unix://tmp/nginx.socket"'),
         ("worker_class", '"gevent"'), ("timeout", "90"), ("def", "on_starting(server)"),
         ("def", "when_ready(server)")],
        {"loglevel": "error", "bind": "unix://tmp/nginx.socket", "timeout": 90},
        ("--threads",)),
    Public(
        "paperless-ngx/paperless-ngx", "gunicorn.conf.py", "python",
        [("bind", "f'0.0.0.0:{os.getenv(\"PAPERLESS_PORT\", 8000)}'"),
         ("workers", 'int(os.getenv("PAPERLESS_WEBSERVER_WORKERS", 2))'),
         ("worker_class", "'paperless.workers.ConfigurableWorker'"), ("timeout", "120"),
         ("def", "pre_fork(server, worker)"), ("def", "pre_exec(server)"),
         ("def", "worker_int(worker)"), ("def", "worker_abort(worker)")],
        {"bind": "0.0.0.0:8000", "workers": 2, "timeout": 120}, ("one kind of worker",)),
    Public(
        "inventree/InvenTree", "contrib/container/gunicorn.conf.py", "python",
        [("logger", "os.environ.copy()"), ("accesslog", "'-'"), ("errorlog", "'-'"),
         ("worker_tmp_dir", "'/dev/shm'"), ("threads", "4"),
         ("timeout", "os.environ.get('INVENTREE_GUNICORN_TIMEOUT', 90)"),
         ("workers", "os.environ.get('INVENTREE_GUNICORN_WORKERS', None)"),
         ("workers", "int(workers) if workers is not None else 3"), ("COUNT", "len(logger)"),
         ("max_requests", "1000"), ("max_requests_jitter", "50"), ("preload_app", "True")],
        {"threads": 4, "timeout": 90, "workers": 3, "max_requests": 1000, "preload_app": True},
        ("no heartbeat file",)),
)

COMMANDS = (
    Public(
        "GoogleCloudPlatform/datacatalog-tag-engine", "Dockerfile", "text",
        [("FROM", "python:3.9"), ("CMD", "exec gunicorn --bind :$PORT --workers 3 --threads 10 "
                                         "--timeout 0 main:app")],
        {"bind": [":7777"], "workers": 3, "threads": 10, "timeout": 0, "wsgi_app": "main:app"}),
    Public(
        "a container with a list of words", "Dockerfile", "text",
        [("FROM", "python:3.11"), ("ENTRYPOINT", '["sh", "entrypoint.sh"]'),
         ("CMD", '["gunicorn", "--workers=2", "--threads=4", "--bind=0.0.0.0:5000", "run:app"]')],
        {"bind": ["0.0.0.0:5000"], "workers": 2, "threads": 4, "wsgi_app": "run:app"}),
    Public(
        "a container with waitress and a factory", "Dockerfile", "text",
        [("FROM", "python:3.11"),
         ("CMD", '["waitress-serve", "--port", "5000", "--call", "monitors:run_app"]')],
        {"bind": ["0.0.0.0:5000"], "threads": 4, "wsgi_app": "monitors:run_app()"},
        ("waitress trusts nobody",)),
    Public(
        "a container with uWSGI", "Dockerfile", "text",
        [("CMD", '["uwsgi", "--http", "0.0.0.0:8080", "--wsgi-file", "analytics.py", "--callable", '
                 '"app", "--uid", "1000", "--gid", "2000", "--master", "--enable-threads"]')],
        {"bind": ["0.0.0.0:8080"], "wsgi_app": "analytics:app", "user": 1000, "group": 2000}),
    Public(
        "kallithea on OpenShift", "start.sh", "text",
        [("", "mod_wsgi-express start-server --server-root $ROOT --log-to-terminal \\"),
         ("", "  --host $ADDRESS --port $PORT --application-type paste --processes 2 \\"),
         ("", "  --threads 15 $INIFILE &")],
        {"paste": "production.ini", "workers": 2, "threads": 15, "bind": ["127.0.0.2:7777"],
         "errorlog": "-"}),
    Public(
        "a process on Heroku", "Procfile", "text",
        [("", "release: python manage.py migrate"),
         ("", "web: waitress-serve --port=$PORT toolbox:app"),
         ("", "worker: celery worker -A tasks")],
        {"bind": ["0.0.0.0:7777"], "wsgi_app": "toolbox:app"},
        ("web: fastwsgi -c fastwsgi.conf.py",)),
    Public(
        "a process on Heroku with an agent", "Procfile", "text",
        [("", "web: newrelic-admin run-program gunicorn shop.wsgi --log-file - --timeout 120 "
              "-w 2")],
        {"wsgi_app": "shop.wsgi", "errorlog": "-", "timeout": 120, "workers": 2},
        ("web: newrelic-admin run-program fastwsgi -c fastwsgi.conf.py",)),
)
