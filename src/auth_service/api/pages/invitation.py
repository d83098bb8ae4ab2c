"""Invitation page (`/account/invitation`), which the links in invitations open.

Opening the page reads the invitation and changes nothing, because mail scanners open links, also in a browser; its
button accepts the invitation.
"""

from flask import Blueprint, Response

from auth_service.api.current import services
from auth_service.api.pages.account_page import account_page

invitation_page = Blueprint("invitation_page", __name__, url_prefix="/account")

TEXTS = {
    "en": {
        "title": "Your invitation",
        "for": "Your account will have this email address:",
        "roles": "Roles:",
        "password": "Password",
        "optional": "optional",
        "hint": "At least {min_length} characters. Without a password you sign in with a code that you receive by "
        "email each time.",
        "show": "Show the password",
        "button": "Accept the invitation",
        "nothing": "Nothing happens until you press the button. If you do not want an account, close this page.",
        "reading": "One moment …",
        "busy": "One moment …",
        "done": "Your account is ready.",
        "next_password": "Now open {service} and sign in with your email address and the password that you have just "
        "set.",
        "next_code": "Now open {service} and sign in with your email address and a code that you receive by email.",
        "address": "Email address:",
        "no_token": "This link is incomplete. Open it from the email again, or copy all of it.",
        "invitation_unknown": "This link does not work any more: it was used or has expired, or a newer email has "
        "replaced it. If you have accepted the invitation, open {service} and sign in. Otherwise ask those who invited "
        "you to send the invitation again.",
        "registration_closed": "{service} does not accept new users at the moment. Ask those who invited you.",
        "email_taken": "This email address has an account already. Open {service} and sign in, or choose there that "
        "you forgot your password.",
        "too_many_requests": "There are too many requests from your network. Wait a minute, then press the button "
        "again.",
        "unreadable": "The invitation could not be read. Check your connection and reload this page in a minute.",
        "trouble": "It is not known whether this worked. Try again in a minute; if the page then says that the link "
        "was used, it worked.",
        "no_script": "This page needs JavaScript, because only your browser reads the link. Allow JavaScript, or open "
        "the link in another browser.",
        "too_short": "This password is too short: use at least {min_length} characters.",
        "too_long": "This password is too long: use at most 128 characters.",
        "control_characters": "This password contains a character that cannot be typed. Type it instead of pasting it.",
        "common": "This is one of the most common passwords. Choose another one.",
        "guessable": "This password is easy to guess. Choose another one, such as a few random words.",
        "context": "This password resembles your email address or the name of the service. Choose another one.",
        "other_reason": "This password cannot be used. Choose another one.",
    },
    "ru": {
        "title": "Приглашение",
        "for": "Адрес почты вашей учётной записи:",
        "roles": "Роли:",
        "password": "Пароль",
        "optional": "необязательно",
        "hint": "Не меньше {min_length} символов. Если не задать пароль, для каждого входа на почту будет приходить "
        "код.",
        "show": "Показать пароль",
        "button": "Принять приглашение",
        "nothing": "Пока вы не нажмёте кнопку, ничего не произойдёт. Если учётная запись вам не нужна, просто закройте "
        "страницу.",
        "reading": "Минуту…",
        "busy": "Минуту…",
        "done": "Учётная запись готова.",
        "next_password": "Теперь откройте {service} и войдите: понадобятся адрес почты и пароль, который вы только что "
        "задали.",
        "next_code": "Теперь откройте {service} и войдите: понадобится адрес почты, а код для входа придёт в письме.",
        "address": "Адрес почты:",
        "no_token": "Ссылка неполная. Откройте её из письма ещё раз или скопируйте целиком.",
        "invitation_unknown": "Ссылка больше не действует: она уже использована, устарела или её заменила ссылка из "
        "более нового письма. Если вы уже приняли приглашение, откройте {service} и войдите. Если нет, попросите "
        "прислать приглашение ещё раз.",
        "registration_closed": "Сейчас {service} не принимает новых пользователей. Обратитесь к тем, кто вас "
        "пригласил.",
        "email_taken": "У этого адреса почты уже есть учётная запись. Откройте {service} и войдите или укажите там, "
        "что забыли пароль.",
        "too_many_requests": "Из вашей сети слишком много запросов. Подождите минуту и нажмите кнопку ещё раз.",
        "unreadable": "Не получилось загрузить приглашение. Проверьте соединение и обновите страницу через минуту.",
        "trouble": "Неизвестно, получилось ли. Попробуйте ещё раз через минуту; если окажется, что ссылка уже "
        "использована, значит, получилось.",
        "no_script": "Для этой страницы нужен JavaScript: ссылку читает только ваш браузер. Разрешите его или откройте "
        "ссылку в другом браузере.",
        "too_short": "Пароль слишком короткий: нужно не меньше {min_length} символов.",
        "too_long": "Пароль слишком длинный: можно не больше 128 символов.",
        "control_characters": "В пароле есть символ, который нельзя набрать. Введите пароль вручную, а не вставкой.",
        "common": "Это один из самых распространённых паролей. Придумайте другой.",
        "guessable": "Такой пароль легко угадать. Придумайте другой, например из нескольких случайных слов.",
        "context": "Пароль похож на ваш адрес почты или на название сервиса. Придумайте другой.",
        "other_reason": "Этот пароль не подходит. Придумайте другой.",
    },
}

PASSWORD_REASONS = ("too_short", "too_long", "control_characters", "common", "guessable", "context", "other_reason")
"""Why a new password is rejected, as the page tells it; `other_reason` stands for those of later releases."""


@invitation_page.get("/invitation")
def page() -> Response:
    """Return the page in the language of `Accept-Language`."""
    return account_page(
        "invitation.html", TEXTS, reasons=PASSWORD_REASONS, min_length=services().settings.password_min_length
    )
