"""The environment, typed and read once. Every variable is `PRETUNE_<FIELD>`.

The defaults are those of `pretune up`: SQLite, an embedded Valkey and a folder, all under `data_dir`.
"""

import hashlib
import ipaddress
import os
import tempfile
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.contract.labels import Label

KIB, MIB, GIB = 1024, 1024**2, 1024**3
#: sockaddr_un holds 104 bytes on macOS and 108 on Linux, the closing zero included.
MAX_SOCKET_PATH_BYTES = 103
#: What a project may call where others than this machine can: more than it asks a small model, less than a flood.
REQUESTS_PER_SECOND = 1_000.0


class Settings(BaseSettings):
    # What is refused may hold a password, and errors end in logs.
    model_config = SettingsConfigDict(env_prefix="PRETUNE_", extra="ignore", frozen=True, hide_input_in_errors=True)

    data_dir: Path = Field(default=Path("pretune-data"), description="Folder of all embedded state.")
    database_url: str | None = Field(default=None, description="postgresql://...; default: SQLite in data_dir.")
    broker_url: str | None = Field(default=None, description="redis://...; default: the embedded Valkey's socket.")
    store: str | None = Field(default=None, description="s3://bucket/prefix; default: a folder in data_dir.")

    # api
    host: str = "127.0.0.1"
    port: int = 8080
    bootstrap_key: SecretStr | None = Field(default=None, description="Admin key made at start where none exists.")
    max_json_bytes: int = MIB
    max_json_depth: int = 64
    max_upload_bytes: int = 8 * GIB
    validator_memory_bytes: int = 2 * GIB
    validator_seconds: float = 600.0
    max_parameters: int = 200_000_000_000
    max_training_bytes: int = Field(default=4_096 * GIB, description="Estimated memory of a job's training step.")
    allowed_hosts: tuple[str, ...] = ()
    requests_per_second: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Of one project at each api process; default: no limit on loopback, 1,000 elsewhere."
    )
    max_queued_jobs: Annotated[int, Field(ge=1)] | None = Field(
        default=1_000, description="Of one project, those that wait for a parent too."
    )
    max_stored_bytes: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Of one project.")
    webhook_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = Field(
        default=(), description="Private networks that webhooks may reach, as JSON; the public internet is open."
    )

    # trainer and inference
    cache_bytes: Annotated[int, Field(ge=1)] = Field(
        default=32 * GIB, description="Of data_dir's cache; what is in use stays even where it is more."
    )

    # trainer
    slots: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Jobs that one trainer runs at a time; default: one for each GPU, or one."
    )
    max_running_jobs: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Of one project at all trainers together; further ones stay queued."
    )
    device: str | None = Field(default=None, description="cpu or cuda; default: what the machine has.")
    labels: Annotated[tuple[Label, ...], NoDecode] = Field(
        default=(), description="What jobs may ask of this trainer, with commas between: fast,zone=eu."
    )
    threads: int | None = Field(default=None, description="CPU threads of one training process; default: all cores.")
    lease_seconds: float = 30.0
    heartbeat_seconds: float = 5.0
    stop_poll_seconds: float = 0.3
    stop_grace_seconds: float = Field(default=30.0, description="For a last checkpoint, before a child is killed.")
    cancel_grace_seconds: float = Field(default=1.0, description="The same when a job is cancelled.")
    stall_seconds: float = 1_800.0
    max_lost_attempts: int = 3
    idle_poll_seconds: float = 2.0
    housekeeping_seconds: float = 2.0
    garbage_seconds: float = Field(default=3_600.0, description="Between two looks for files that no row refers to.")
    garbage_age_seconds: float = Field(default=86_400.0, description="Such files are left alone for so long.")
    training_memory_bytes: int | None = Field(default=None, description="RLIMIT_AS of a training process.")

    # inference
    inference_host: str = "127.0.0.1"
    inference_port: int = 8081
    inference_address: str | None = Field(
        default=None, description="Where the api reaches this replica; default: host:port."
    )
    inference_cache_bytes: int = 4 * GIB
    inference_threads: int | None = None
    inference_precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        default="auto", description="auto: bfloat16 where the processor multiplies it in hardware, else float32."
    )
    generation_cache_bytes: int = Field(
        default=GIB, description="For what running generations of one replica have read, beside its models."
    )
    internal_token: SecretStr | None = Field(default=None, description="Shared by api and inference replicas.")

    @field_validator("labels", mode="before")
    @classmethod
    def _parted_by_commas(cls, labels: object) -> object:
        if not isinstance(labels, str):
            return labels
        return tuple(label.strip() for label in labels.split(",") if label.strip())

    @field_validator("store")
    @classmethod
    def _names_a_bucket(cls, store: str | None) -> str | None:
        """Credentials would be shown wherever the address is: they are told apart."""
        if not store:
            return None
        parts = urlsplit(store)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or {"@", ":"} & set(parts.netloc):
            raise ValueError("it must be s3://bucket or s3://bucket/prefix; credentials come by AWS_ACCESS_KEY_ID")
        return store

    @cached_property
    def resolved_database_url(self) -> str:
        """A SQLAlchemy URL; a plain postgresql:// means psycopg 3."""
        url = self.database_url or f"sqlite:///{self.data_dir.absolute() / 'pretune.db'}"
        return url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def silence(self) -> timedelta:
        """A worker that has not been heard of for so long counts as dead: it missed three heartbeats."""
        return timedelta(seconds=3 * self.heartbeat_seconds)

    @property
    def resolved_requests_per_second(self) -> float | None:
        """Null where there is no limit."""
        if self.requests_per_second is None and not self.on_loopback:
            return REQUESTS_PER_SECOND
        return self.requests_per_second

    @property
    def on_loopback(self) -> bool:
        """Whether the api listens to this machine alone."""
        return is_loopback(self.host)

    @property
    def broker_socket(self) -> Path:
        """Where the embedded Valkey listens: in data_dir, or elsewhere where that path is too long for a socket's."""
        path = self.data_dir.absolute() / "broker" / "valkey.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
            return path
        name = hashlib.sha256(os.fsencode(self.data_dir.absolute())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"pretune-{os.getuid()}-{name}" / "valkey.sock"

    @property
    def resolved_broker_url(self) -> str:
        """A kombu URL of Redis or Valkey. Over TLS the server must prove who it is, unless the URL says otherwise:
        kombu alone would believe anybody."""
        url = self.broker_url or f"redis+socket://{quote(str(self.broker_socket))}"
        if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
            return url
        return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"

    @property
    def artifacts_dir(self) -> Path:
        return self.data_dir.absolute() / "artifacts"

    @property
    def scratch_dir(self) -> Path:
        """Working files of running attempts and of uploads; nothing here outlives a crash usefully."""
        return self.data_dir.absolute() / "scratch"

    @property
    def cache_dir(self) -> Path:
        """What can be made again: fetched inputs, tokenised data, loaded models."""
        return self.data_dir.absolute() / "cache"


@lru_cache(maxsize=1_024)  # it is asked for every request
def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, by which no other machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
