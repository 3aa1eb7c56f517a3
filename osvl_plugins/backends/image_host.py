"""Gives a picture a public address, by HTTP PUT to a store of one's own (S3, MinIO, nginx with WebDAV)."""

from __future__ import annotations

from PIL import Image
from pydantic import Field, field_validator

from osvl_plugins.backends.http import Http
from osvl_plugins.backends.jpeg import jpeg
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.remote import secret
from osvl_plugins.errors import ToolError
from osvl_plugins.settings import Settings
from osvl_plugins.threads import in_thread

PROVIDER = "image_host"


class ImageHostSettings(Settings):
    """Where pictures are put, and under which address the world finds them: whoever knows it sees the picture."""

    put_url: str = ""
    """Address that takes the picture, with ``{name}`` in it. Empty: pictures are not published."""
    public_url: str = ""
    """Address under which the picture is then found, with ``{name}`` in it."""
    key_env: str = ""
    """Environment variable whose value goes out as ``Authorization``; empty where none is asked for."""
    max_pixels: int = Field(default=1_000_000, ge=784)
    """Most pixels of what is published."""
    deadline_s: float = Field(default=10.0, gt=0)
    """Seconds for one picture, waiting and retries included."""

    @field_validator("put_url", "public_url")
    @classmethod
    def _template(cls, url: str) -> str:
        if url and not (url.startswith(("http://", "https://")) and "{name}" in url):
            raise ValueError("must be an http address with {name} where the picture's name goes")
        return url


class ImageHost:
    """Publishes pictures as JPEG, named by the SHA-256 of their pixels: the same picture has the same address."""

    def __init__(self, settings: ImageHostSettings, http: Http, recorder: Recorder) -> None:
        self._settings = settings
        self._http = http
        self._recorder = recorder

    async def publish(self, image: Image.Image) -> str:
        """The public address of ``image``. Raises ``ToolError``, of kind ``unavailable`` when there is no host."""
        settings = self._settings
        if not settings.put_url or not settings.public_url:
            raise ToolError(
                "unavailable",
                f"{PROVIDER}: a picture of this conversation has no public address to search by: "
                f"set {PROVIDER}.put_url and {PROVIDER}.public_url",
            )
        picture = await in_thread(jpeg, image, settings.max_pixels)
        name = f"{picture.digest}.jpg"

        async def put() -> bytes:
            headers = {"Content-Type": "image/jpeg"}
            if settings.key_env:
                headers["Authorization"] = secret(PROVIDER, settings.key_env)
            url = settings.put_url.replace("{name}", name)
            await self._http.call(
                PROVIDER, "PUT", url, headers=headers, data=picture.data, deadline_s=settings.deadline_s
            )
            return settings.public_url.replace("{name}", name).encode()

        return (await self._recorder.call(PROVIDER, {"name": name}, put)).decode()
