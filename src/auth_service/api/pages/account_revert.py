"""The page that the links in letters open: it says what undoing does, and undoes when its button is pressed.

Opening it does nothing, because programs that scan mail open links. The token stands behind `#`, which browsers send to
no server; a script of the page reads it there.
"""

import secrets

from flask import Blueprint, Response, render_template

from auth_service.api.current import services
from auth_service.api.http.language import preferred_language

undo_page = Blueprint("undo_page", __name__, url_prefix="/account")

WORDS = {
    "en": {
        "title": "This was not me",
        "will": "If you press the button, your account is taken back:",
        "sessions": "all devices are signed out;",
        "password": "your password stops working, for somebody else may know it;",
        "email": "if the letter told of another address, your account gets the one back that the letter went to.",
        "nothing": "Until then nothing happens. If it was you, just close this page.",
        "button": "Take my account back",
        "busy": "One moment …",
        "done": "Your account is yours again, and everybody was signed out.",
        "next": "Now set a new password: open {service} as you always do, say that you forgot your password, and enter "
        "the code that is mailed to you. If somebody may have read your letters, first change the password of your "
        "mailbox.",
        "no_token": "This link is not complete. Open it from the letter again, or copy all of it.",
        "undo_unknown": "This link was used already, or has run out. If something is wrong with your account, ask for "
        "a code to set a new password.",
        "email_taken": "The address of this letter belongs to another account by now, so yours cannot get it back. "
        "Nothing was changed. If you made that account, sign in there, delete it, open the link from the letter again "
        "and press the button again. If you did not, somebody else reads your letters: change the password of your "
        "mailbox, and tell those who run {service}.",
        "trouble": "We cannot say whether that worked. Please try again in a minute; if the link was used already by "
        "then, it did work.",
        "no_script": "This page needs JavaScript, because the link is read in your browser only. Please allow it, or "
        "open the link in another browser.",
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


@undo_page.get("/undo")
def page() -> Response:
    """Show the page, in the language that the browser asks for."""
    nonce = secrets.token_urlsafe(16)
    language = preferred_language()
    service = services().settings.service_name
    words = {name: said.format(service=service) for name, said in WORDS[language].items()}
    shown = Response(
        render_template("undo.html", words=words, language=language, service=service, nonce=nonce),
        content_type="text/html; charset=utf-8",
    )
    shown.headers["Content-Language"] = language
    shown.vary.add("Accept-Language")
    shown.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return shown
