"""The contract in Django, its settings in the same file."""

from __future__ import annotations

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from . import contract

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    ROOT_URLCONF=__name__,
    SECRET_KEY="a fixture's secret",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    LOGGING_CONFIG=None,
)
django.setup()


def text(body: str, status: int = 200) -> HttpResponse:
    return HttpResponse(body, status=status, content_type="text/plain; charset=utf-8")


def hello(request: HttpRequest) -> HttpResponse:
    return text(contract.HELLO)


def greet(request: HttpRequest, name: str) -> HttpResponse:
    return text(contract.greeting(name))


def form(request: HttpRequest) -> HttpResponse:
    return text(contract.form_summary(request.POST["name"], request.POST["colour"]))


def upload(request: HttpRequest) -> HttpResponse:
    sent = request.FILES["file"]
    return text(contract.upload_summary(sent.name, sent, request.POST["note"]))


def set_cookies(request: HttpRequest) -> HttpResponse:
    response = text("set")
    for name, value in contract.COOKIES.items():
        response.set_cookie(name, value)
    return response


def show_cookies(request: HttpRequest) -> HttpResponse:
    return text(contract.cookie_summary(request.COOKIES))


def stream(request: HttpRequest, port: int) -> HttpResponseBase:
    return StreamingHttpResponse(contract.lockstep(port), content_type="text/plain")


def boom(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(contract.BOOM)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return text(contract.missing(request.path), 404)


urlpatterns = [
    path("", hello),
    path("greet/<name>", greet),
    path("form", form),
    path("upload", upload),
    path("cookies/set", set_cookies),
    path("cookies/show", show_cookies),
    path("stream/<int:port>", stream),
    path("boom", boom),
]

app = get_wsgi_application()
