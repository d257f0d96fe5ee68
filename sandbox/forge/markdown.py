"""Comments as GitLab would show them, and what GitLab would *do* with them.

`render` gives sanitised HTML. `effects` follows GitLab's published syntax (Flavored Markdown, quick actions,
references): quick actions are read from the source line by line; mentions and references from the text of the
rendered page, so that an entity like `&#64;all` counts and code, links and backslash escapes do not. Where GitLab's
own rule is in doubt it errs towards "has an effect". Unproven on a real GitLab, which cannot run here.
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

# As on the page "GitLab quick actions" of its user documentation.
QUICK_ACTIONS = frozenset(
    """add_child add_contacts add_email approve assign assign_reviewer award blocked_by blocks
    board_move cc checkin_reminder child_of clear_health_status clear_parent clear_weight clone
    close confidential convert_to_ticket copy_metadata create_merge_request done draft due
    duplicate epic estimate estimate_time health_status iteration label link lock merge milestone
    move page parent_epic promote promote_to promote_to_incident publish react ready reassign
    reassign_reviewer rebase relabel relate remove_child remove_child_epic remove_contacts
    remove_due_date remove_email remove_epic remove_estimate remove_iteration remove_milestone
    remove_parent remove_parent_epic remove_time_spent remove_zoom reopen request_changes
    request_review reset_approvals ship shrug severity spend spend_time spent start_duo
    submit_review subscribe tableflip target_branch timeline title todo type unapprove unassign
    unassign_reviewer unlabel unlink unlock unrelate unsubscribe weight zoom""".split()  # noqa: SIM905 - a hundred words read better unquoted
)
ESCAPABLE = "$%#&@^!~"
TAGS = nh3.ALLOWED_TAGS | {"details", "summary", "input"}
ATTRIBUTES = {
    **nh3.ALLOWED_ATTRIBUTES,
    "span": {"data-escaped-char"},
    "code": {"class"},
    "th": {"style", "align"},
    "td": {"style", "align"},
}

_MENTION = re.compile(r"(?<![\w`/])@([A-Za-z0-9_][\w.-]*(?:/[\w.-]+)*)")
_REFERENCES = (
    re.compile(r"(?<![\w#&])(?:[\w.-]+(?:/[\w.-]+)*)?([!#$&]\d+)\b"),
    re.compile(r"(?<!\w)(~(?:\"[^\"]+\"|[A-Za-z_][\w:.-]*))"),
    re.compile(r"(?<!\w)(%(?:\"[^\"]+\"|[A-Za-z0-9][\w.-]*))"),
    re.compile(r"(?<!\w)(\^alert#\d+)\b"),
    re.compile(r"(?<![\w-])([0-9a-f]{7,40}(?:\.{2,3}[0-9a-f]{7,40})?)(?![\w-])"),
    re.compile(r"(\[(?:issue|epic|work_item|vulnerability|snippet|contact|wiki_page):[^\]]+\])"),
    re.compile(r"(\[\[[^\]]+\]\])"),
)
_BARE_URL = re.compile(r"(?i)\b((?:https?|ftp|smb|irc|rdar|git|ssh)://[^\s<>]+|www\.[^\s<>]+)")
_SCHEME = re.compile(r"(?i)^\s*(?:[a-z][a-z0-9+.-]*:|//)")
_COMMAND = re.compile(r"^ {0,3}/([A-Za-z_]+)(?:\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a text would do beside being read. Empty all over: inert."""

    quick_actions: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    external_urls: tuple[str, ...] = ()

    @property
    def inert(self) -> bool:
        return not (self.quick_actions or self.mentions or self.references or self.external_urls)


def render(text: str) -> str:
    """Return the HTML a reader sees: Markdown with GitLab's extensions, sanitised."""
    return nh3.clean(
        _MARKDOWN.render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        filter_style_properties={"text-align"},
        url_schemes={"http", "https", "mailto"},
    )


def effects(text: str, own: tuple[str, ...] = ()) -> Effects:
    """Return what GitLab would act on; addresses that start with one of `own` are not external."""
    page = _Page()
    page.feed(render(text))
    page.close()
    mentions: list[str] = []
    references: list[str] = []
    urls = [url for url in page.addresses if _SCHEME.match(url)]
    for node in page.texts:
        bare = _BARE_URL.findall(node)
        urls += bare
        rest = _BARE_URL.sub(" ", node)
        mentions += _MENTION.findall(rest)
        references += [found for pattern in _REFERENCES for found in pattern.findall(rest)]
    return Effects(
        quick_actions=tuple(_quick_actions(text)),
        mentions=tuple(mentions),
        references=tuple(references),
        external_urls=tuple(url for url in urls if not url.startswith(own or "\0")),
    )


def _quick_actions(text: str) -> list[str]:
    """Known commands that start a line outside code blocks. Any line break Unicode knows counts as one."""
    source = text.splitlines()
    in_code: set[int] = set()
    for token in _MARKDOWN.parse("\n".join(source)):
        if token.type in {"fence", "code_block"} and token.map:
            in_code.update(range(*token.map))
    found = []
    for number, line in enumerate(source):
        command = _COMMAND.match(line)
        if command and command[1].lower() in QUICK_ACTIONS and number not in in_code:
            found.append(command[1].lower())
    return found


@dataclass(slots=True)
class _Found:
    texts: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


class _Page(HTMLParser):
    """Text nodes GitLab's reference filters look at, and the addresses in the page."""

    QUIET = frozenset({"a", "pre", "code", "tt", "style"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._found = _Found()
        self._open: list[str] = []

    @property
    def texts(self) -> list[str]:
        return self._found.texts

    @property
    def addresses(self) -> list[str]:
        return self._found.addresses

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._found.addresses += [v for k, v in attrs if k in {"href", "src", "cite"} and v]
        if tag in self.QUIET:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self._open:
            self._found.texts.append(data)


def _keep_escapes(state: StateCore) -> None:
    """Give an escaped reference character an element of its own, as GitLab does: `\\@all` is no mention."""
    for block in state.tokens:
        for token in block.children or []:
            if token.type == "text_special" and token.markup.startswith("\\"):
                _wrap(token)


def _wrap(token: Token) -> None:
    if token.content in ESCAPABLE:
        shown = "&amp;" if token.content == "&" else token.content
        token.type = "html_inline"
        token.content = f"<span data-escaped-char>{shown}</span>"


def _make() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": True})
    parser.enable(["table", "strikethrough"])
    parser.core.ruler.before("text_join", "keep_escapes", _keep_escapes)
    return parser


_MARKDOWN = _make()
