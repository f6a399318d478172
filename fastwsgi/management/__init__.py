"""Commands of Django's manage.py, for INSTALLED_APPS with "fastwsgi" in it."""
