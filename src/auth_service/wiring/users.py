"""Factories of the user services: users, user search, security notifications, import of users."""

from auth_service.services.email.outbox import Outbox
from auth_service.services.pagination import Cursors
from auth_service.services.users.import_users import UserImport
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.user_search import UserSearch
from auth_service.services.users.users import Users


def users() -> Users:
    """Build the service that reads and writes users."""
    return Users()


def user_search(cursors: Cursors) -> UserSearch:
    """Build the user search of administrators."""
    return UserSearch(cursors=cursors)


def security_notifications(outbox: Outbox) -> SecurityNotifications:
    """Build the security notifications: emails to a user about security events."""
    return SecurityNotifications(outbox=outbox)


def user_import() -> UserImport:
    """Build the import of users from another system."""
    return UserImport()
