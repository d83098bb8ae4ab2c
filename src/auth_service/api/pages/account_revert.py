"""Account revert page (`/account/undo`), which the links in security notifications open.

Opening the page changes nothing, because mail scanners open links; its button sends the token. The token is in the
fragment of the URL, which browsers send to no server; a script of the page reads it.
"""

from flask import Blueprint, Response

from auth_service.api.pages.account_page import account_page

account_revert_page = Blueprint("undo_page", __name__, url_prefix="/account")

TEXTS = {
    "en": {
        "title": "This was not me",
        "will": "If you press the button, your account is secured:",
        "sessions": "all devices are signed out;",
        "password": "your password stops working, because another person may know it;",
        "email": "if the email was about a change of your address, the account gets back the address that received it.",
        "nothing": "Nothing happens until you press the button. If it was you, close this page.",
        "button": "Secure my account",
        "busy": "One moment …",
        "done": "Your account is secured, and all devices are signed out.",
        "next": "Now set a new password: open {service} as usual, choose that you forgot your password, and enter the "
        "code that you receive by email. If another person may read your emails, change the password of your mailbox "
        "first.",
        "no_token": "This link is incomplete. Open it from the email again, or copy all of it.",
        "undo_unknown": "This link has expired or was used. If something is wrong with your account, request a code "
        "and set a new password.",
        "email_taken": "Another account now uses the address that received this email, so your account cannot get it "
        "back. Nothing was changed. If you created that account, sign in there, delete it, open the link from the "
        "email again and press the button again. If you did not, another person reads your emails: change the password "
        "of your mailbox, and tell those who run {service}.",
        "trouble": "It is not known whether this worked. Try again in a minute; if the page then says that the link "
        "was used, it worked.",
        "no_script": "This page needs JavaScript, because only your browser reads the link. Allow JavaScript, or open "
        "the link in another browser.",
    },
    "ru": {
        "title": "Это был не я",
        "will": "Если нажать кнопку, учётная запись вернётся к вам:",
        "sessions": "на всех устройствах будет выполнен выход;",
        "password": "пароль перестанет действовать: его может знать кто-то ещё;",
        "email": "если в письме говорилось о новом адресе, вернётся тот, на который пришло письмо.",
        "nothing": "До этого ничего не произойдёт. Если это были вы, просто закройте страницу.",
        "button": "Вернуть учётную запись",
        "busy": "Минуту…",
        "done": "Учётная запись снова ваша, на всех устройствах выполнен выход.",
        "next": "Теперь задайте новый пароль: откройте {service} как обычно, укажите, что забыли пароль, и введите код "
        "из письма. Если ваши письма мог читать кто-то ещё, сначала смените пароль от почты.",
        "no_token": "Ссылка неполная. Откройте её из письма ещё раз или скопируйте целиком.",
        "undo_unknown": "Ссылка уже использована или устарела. Если с учётной записью что-то не так, запросите код, "
        "чтобы задать новый пароль.",
        "email_taken": "Адрес, на который пришло письмо, теперь принадлежит другой учётной записи, вернуть его нельзя. "
        "Ничего не изменилось. Если вы сами создали ту учётную запись, войдите в неё и удалите, откройте ссылку из "
        "письма ещё раз и нажмите кнопку ещё раз. Если не вы, ваши письма читает кто-то другой: смените пароль от "
        "почты и сообщите об этом тем, кто отвечает за {service}.",
        "trouble": "Неизвестно, получилось ли. Попробуйте ещё раз через минуту; если окажется, что ссылка уже "
        "использована, значит, получилось.",
        "no_script": "Для этой страницы нужен JavaScript: ссылку читает только ваш браузер. Разрешите его или откройте "
        "ссылку в другом браузере.",
    },
}


@account_revert_page.get("/undo")
def page() -> Response:
    """Return the page in the language of `Accept-Language`."""
    return account_page("undo.html", TEXTS)
