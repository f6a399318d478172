"""``manage.py runfastwsgi``: see fastwsgi/frameworks/django.py."""

from fastwsgi.frameworks.django import Command

__all__ = ["Command"]
