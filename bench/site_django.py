"""The Django site in one module: `/` is the hello of the table, the rest is what locustfile.py's
visitors do.
"""

from __future__ import annotations

import time

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template import engines
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from bench.site_content import PAGE, articles, checked_upload, compute, stream_blocks

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    LOGGING_CONFIG=None,
    ROOT_URLCONF=__name__,
    SECRET_KEY="benchmark",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    FILE_UPLOAD_MAX_MEMORY_SIZE=16 << 20,
)
_page = None


def hello(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse("Hello, World!", content_type="text/plain")


def page(request: HttpRequest) -> HttpResponseBase:
    global _page
    if _page is None:
        _page = engines["django"].from_string(PAGE)
    return HttpResponse(_page.render({"articles": articles(int(request.GET.get("page", 1)))}))


def api(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"articles": articles(int(request.GET.get("page", 1)))})


@csrf_exempt
def form(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse(f"thank you, {request.POST['name']}", content_type="text/plain")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(checked_upload(request.FILES["file"].read()))


def stream(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(stream_blocks(), content_type="text/csv")


def slow(request: HttpRequest) -> HttpResponseBase:
    time.sleep(0.05)
    return HttpResponse("at last", content_type="text/plain")


def computing(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse(compute(), content_type="text/plain")


urlpatterns = [
    path("", hello),
    path("page", page),
    path("api/articles", api),
    path("form", form),
    path("upload", upload),
    path("stream", stream),
    path("slow", slow),
    path("compute", computing),
]
app = get_wsgi_application()
