"""GitLab's published contract as a checker (D50): OpenAPI, rspec schemas, key sets of samples.

The published schemas require almost nothing, so key sets are compared too: a key the contract does not know is a
complaint, and so is a key of the samples that is not sent. What is left out or added on purpose is listed here with
its reason, and a listed exception that no longer occurs is itself a complaint.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft4Validator, FormatChecker
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

HOST = "https://gitlab.com"
ANY_ANSWER = {401, 403, 404, 429}

# Endpoints the contract does not describe, with the public page they follow.
UNPUBLISHED = {
    "/api/v4/personal_access_tokens/self": "docs: api/personal_access_tokens, 'Get details on a token'",
}
# Statuses GitLab sends and the contract leaves out.
UNDOCUMENTED_STATUSES = {
    ("post", "/api/v4/projects/{id}/merge_requests/{merge_request_iid}/approve", 409): (
        "docs: api/merge_request_approvals, `sha`: 'If sha doesn't match HEAD: 409'"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, as python-gitlab's session saw them."""

    method: str
    url: str
    body: bytes
    content_type: str
    status: int
    answer: bytes
    answer_type: str

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


class Contract:
    """The contract, loaded once."""

    def __init__(self, folder: Path) -> None:
        self.document = json.loads((folder / "gitlab-openapi.corrected.json").read_text())
        self.document.pop("security", None)
        self._api = OpenAPI.from_dict(self.document)
        self._samples = folder / "samples" / "gitlab"
        self.hooks = folder / "webhooks" / "gitlab"
        root = folder / "gitlab-schemas"
        schemas = [
            (p.as_uri(), Resource(json.loads(p.read_text()), DRAFT4)) for p in root.rglob("*.json")
        ]
        self._rspec = root
        self._registry: Registry = Registry().with_resources(schemas)

    # --- OpenAPI ---

    def template(self, method: str, path: str) -> str | None:
        """Return the contract's path for an address; a literal segment beats a parameter."""
        wanted = path.strip("/").split("/")
        found = []
        for template, operations in self.document["paths"].items():
            parts = template.strip("/").split("/")
            if method in operations and len(parts) == len(wanted):
                pairs = list(zip(parts, wanted, strict=True))
                if all(part == seen or part.startswith("{") for part, seen in pairs):
                    found.append((sum(part == seen for part, seen in pairs), template))
        return max(found)[1] if found else None

    def complaints(self, exchange: Exchange) -> list[str]:
        """Say where an exchange is not what GitLab publishes."""
        method = exchange.method.lower()
        template = self.template(method, exchange.path)
        where = f"{exchange.method} {exchange.path} -> {exchange.status}"
        if template is None:
            known = exchange.path in UNPUBLISHED
            return [] if known else [f"{where}: the contract has no such endpoint"]
        responses = self.document["paths"][template][method]["responses"]
        if str(exchange.status) not in responses:
            documented = (method, template, exchange.status) in UNDOCUMENTED_STATUSES
            if documented or exchange.status in ANY_ANSWER:
                return []
            return [f"{where}: the contract has {sorted(responses)}"]
        if exchange.status >= 400:
            return []
        return [f"{where}: {why}" for why in self._validate(exchange)] + [
            f"{where}: {key} is not in the contract"
            for key in self.unknown_keys(template, method, exchange)
        ]

    def _validate(self, exchange: Exchange) -> Iterator[str]:
        split = urlsplit(exchange.url)
        request = MockRequest(
            HOST,
            exchange.method.lower(),
            split.path,
            args={name.removesuffix("[]"): v for name, v in parse_qs(split.query).items()},
            data=exchange.body or None,
            content_type=exchange.content_type or "application/json",
        )
        response = MockResponse(
            exchange.answer, status_code=exchange.status, content_type=exchange.answer_type
        )
        checks = [lambda: self._api.validate_request(request)]
        if exchange.answer and "json" in exchange.answer_type:
            checks.append(lambda: self._api.validate_response(request, response))
        for check in checks:
            try:
                check()
            except Exception as error:  # noqa: BLE001 - openapi-core raises many kinds
                details = getattr(error.__cause__, "schema_errors", None)
                yield (
                    "; ".join(
                        f"{'/'.join(map(str, d.absolute_path))}: {d.message[:120]}" for d in details
                    )
                    if details
                    else repr(error.__cause__ or error)[:200]
                )

    def unknown_keys(self, template: str, method: str, exchange: Exchange) -> set[str]:
        """Return keys of an answer, at any depth, that its schema does not name."""
        response = self.document["paths"][template][method]["responses"][str(exchange.status)]
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if schema is None or not exchange.answer:
            return set()
        return set(self._unknown(schema, json.loads(exchange.answer), ""))

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        for part in schema.get("allOf", []):
            return self._resolve(part)
        return schema

    def _unknown(self, schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
        schema = self._resolve(schema)
        if isinstance(value, list):
            for item in value:
                yield from self._unknown(schema.get("items", {}), item, where)
        if not isinstance(value, dict) or not schema.get("properties"):
            return
        for key, inner in value.items():
            if key not in schema["properties"]:
                yield f"{where}{key}"
            else:
                yield from self._unknown(schema["properties"][key], inner, f"{where}{key}.")

    # --- rspec schemas and samples ---

    def rspec_errors(self, name: str, value: Any) -> list[str]:
        """Validate with one of GitLab's own test schemas."""
        uri = (self._rspec / "public_api" / "v4" / f"{name}.json").as_uri()
        validator = Draft4Validator(
            {"$ref": uri}, registry=self._registry, format_checker=FormatChecker()
        )
        return [
            f"{'/'.join(map(str, e.absolute_path))}: {e.message[:160]}"
            for e in validator.iter_errors(value)
        ]

    def sample_keys(self, *names: str) -> set[str]:
        """Return the top-level keys of samples, all together."""
        keys: set[str] = set()
        for name in names:
            value = json.loads((self._samples / f"{name}.json").read_text())
            keys |= set(value[0] if isinstance(value, list) else value)
        return keys


def shape(value: Any, where: str = "") -> set[str]:
    """Return the paths of all keys of a value; lists count by their first item."""
    if isinstance(value, list):
        return shape(value[0], f"{where}[]") if value else set()
    if not isinstance(value, dict):
        return set()
    paths = set()
    for key, inner in value.items():
        paths |= {f"{where}.{key}".lstrip(".")} | shape(inner, f"{where}.{key}".lstrip("."))
    return paths
