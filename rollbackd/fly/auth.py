"""A Fly token and the headers it becomes. Refuses to show itself."""

from __future__ import annotations

from pydantic import SecretStr

_SCHEMES = ("flyv1 ", "bearer ")
_MACAROONS = ("fm1r_", "fm1a_", "fm2_")
HIDDEN = "[token]"


class Token:
    """One token string: macaroons and plain tokens, parted by commas, with or without a scheme."""

    __slots__ = ("_pieces",)

    def __init__(self, raw: str | SecretStr) -> None:
        text = (raw.get_secret_value() if isinstance(raw, SecretStr) else raw).strip()
        for scheme in _SCHEMES:
            if text.lower().startswith(scheme):
                text = text[len(scheme) :].strip()
        self._pieces = tuple(piece.strip() for piece in text.split(",") if piece.strip())

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def __repr__(self) -> str:
        return f"Token({HIDDEN})"

    @property
    def for_machines(self) -> str:
        """The Authorization header of the Machines API and the logs: macaroons alone, if any."""
        macaroons = [piece for piece in self._pieces if piece.startswith(_MACAROONS)]
        return f"FlyV1 {','.join(macaroons)}" if macaroons else self.for_releases

    @property
    def for_graphql(self) -> str:
        """The Authorization header of GraphQL: everything, FlyV1 if there is any macaroon."""
        scheme = "FlyV1" if any(p.startswith(_MACAROONS) for p in self._pieces) else "Bearer"
        return f"{scheme} {','.join(self._pieces)}"

    @property
    def for_releases(self) -> str:
        """The Authorization header of /api/v1: always Bearer, also for macaroons."""
        return f"Bearer {','.join(self._pieces)}"

    def scrub(self, text: str) -> str:
        """`text` without any piece of this token, for errors that quote an answer."""
        for piece in self._pieces:
            text = text.replace(piece, HIDDEN)
        return text
