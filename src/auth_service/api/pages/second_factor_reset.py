"""Page that cancels a delayed reset of second factors (`/account/second_factor_reset`): links in emails open it.

Opening the page changes nothing, because mail scanners open links; its button sends the token.
"""

from flask import Blueprint, Response

from auth_service.api.pages.account_page import account_page

second_factor_reset_page = Blueprint("second_factor_reset_page", __name__, url_prefix="/account")

TEXTS = {
    "en": {
        "title": "Keep two-step sign-in",
        "will": "A reset of two-step sign-in was requested for your account. If you press the button, it is cancelled, "
        "and your authenticator app, your passkeys and your recovery codes stay.",
        "nothing": "Nothing happens until you press the button. If you requested the reset yourself and have not found "
        "any of them, close this page.",
        "button": "Cancel the reset",
        "busy": "One moment …",
        "done": "The reset is cancelled, and two-step sign-in stays as it is.",
        "next": "If you did not request it, another person knows your password or reads your emails: open {service} as "
        "usual and set a new password, and change the password of your mailbox.",
        "no_token": "This link is incomplete. Open it from the email again, or copy all of it.",
        "undo_unknown": "There is no reset to cancel with this link: it was cancelled before, or it has taken effect. "
        "If something is wrong with your account, request a code and set a new password.",
        "trouble": "It is not known whether this worked. Try again in a minute; if the page then says that there is no "
        "reset to cancel, it worked.",
        "no_script": "This page needs JavaScript, because only your browser reads the link. Allow JavaScript, or open "
        "the link in another browser.",
    },
    "ru": {
        "title": "Оставить второй шаг входа",
        "will": "Для вашей учётной записи запросили сброс второго шага входа. Если нажать кнопку, сброс будет отменён: "
        "приложение-аутентификатор, ключи доступа и коды восстановления останутся.",
        "nothing": "До этого ничего не произойдёт. Если сброс запросили вы сами и ничего из этого не нашли, просто "
        "закройте страницу.",
        "button": "Отменить сброс",
        "busy": "Минуту…",
        "done": "Сброс отменён, второй шаг входа работает как раньше.",
        "next": "Если сброс запросили не вы, кто-то знает ваш пароль или читает вашу почту: откройте {service} как "
        "обычно, задайте новый пароль и смените пароль почтового ящика.",
        "no_token": "Ссылка неполная. Откройте её из письма ещё раз или скопируйте целиком.",
        "undo_unknown": "По этой ссылке отменять нечего: сброс уже отменён или уже выполнен. Если с учётной записью "
        "что-то не так, запросите код, чтобы задать новый пароль.",
        "trouble": "Неизвестно, получилось ли. Попробуйте ещё раз через минуту; если окажется, что отменять нечего, "
        "значит, получилось.",
        "no_script": "Для этой страницы нужен JavaScript: ссылку читает только ваш браузер. Разрешите его или откройте "
        "ссылку в другом браузере.",
    },
}


@second_factor_reset_page.get("/second_factor_reset")
def page() -> Response:
    """Return the page in the language of `Accept-Language`."""
    return account_page("second_factor_reset.html", TEXTS)
