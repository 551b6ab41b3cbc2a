"""What each error code means and what to do about it: the titles of problems, the pages at `/errors/{code}`, and
docs/errors.md."""

from http import HTTPStatus
from typing import NamedTuple

from app.contract.errors import ErrorCode
from app.contract.job import Fault


class Explanation(NamedTuple):
    """`status` is null where no answer has the code, but the `error` of a job that failed."""

    title: str
    meaning: str
    remedy: str
    status: HTTPStatus | None = HTTPStatus.UNPROCESSABLE_ENTITY
    fault: Fault = Fault.USER


EXPLANATIONS: dict[ErrorCode, Explanation] = {
    ErrorCode.VALIDATION_FAILED: Explanation(
        "The request is not valid",
        "A field is missing, unknown, of the wrong type or out of its range, or two fields contradict each other.",
        "Each entry of `errors` names the place and what it takes. `GET /v1/methods` tells the fields of each method.",
    ),
    ErrorCode.MALFORMED_JSON: Explanation(
        "The body is no strict JSON",
        "The body could not be read as JSON in UTF-8: a syntax error, NaN or Infinity, a key given twice, or values "
        "nested too deeply.",
        "The detail tells the line and the column. Write bodies with a JSON library.",
        status=HTTPStatus.BAD_REQUEST,
    ),
    ErrorCode.UNAUTHENTICATED: Explanation(
        "An API key is needed",
        "The request has no API key, or one that is unknown, expired or revoked.",
        "Send `Authorization: Bearer <key>`. `pretune keys create` makes a key.",
        status=HTTPStatus.UNAUTHORIZED,
    ),
    ErrorCode.FORBIDDEN_ORIGIN: Explanation(
        "The request comes from a place that is not trusted",
        "A service that runs without keys answers only requests made to this machine by name or address, and only "
        "pages of its own. Anything else could be a web page that misuses your browser.",
        "Call it as http://127.0.0.1 or http://localhost, or make a key with `pretune keys create` and send it.",
        status=HTTPStatus.FORBIDDEN,
    ),
    ErrorCode.INSUFFICIENT_SCOPE: Explanation(
        "The key may not do this",
        "Each key has scopes: `read` looks, `write` makes and changes, `predict` asks models, and `admin` does "
        "everything and manages keys. This call needs one that your key does not have.",
        "The detail names the scope. Take another key, or have one made: with `POST /v1/keys` by whoever has an "
        "`admin` key, or with `pretune keys create --scope`.",
        status=HTTPStatus.FORBIDDEN,
    ),
    ErrorCode.NOT_FOUND: Explanation(
        "There is no such thing",
        "Nothing is at this address: it never was, it was deleted, or it belongs to a project that your key does not.",
        "Compare the id with the list that it should be in. `/docs` tells every address there is.",
        status=HTTPStatus.NOT_FOUND,
    ),
    ErrorCode.METHOD_NOT_ALLOWED: Explanation(
        "The address does not take this method",
        "Something is at this address, but not for this HTTP method.",
        "The header `Allow` of the answer tells the methods that it takes.",
        status=HTTPStatus.METHOD_NOT_ALLOWED,
    ),
    ErrorCode.PAYLOAD_TOO_LARGE: Explanation(
        "The body is too large",
        "The body, or the file in it, is longer than this service takes.",
        "Send less at once: inputs in several requests, a data set in a denser type of file. The operator can raise "
        "PRETUNE_MAX_JSON_BYTES and PRETUNE_MAX_UPLOAD_BYTES.",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ),
    ErrorCode.REQUEST_TOO_SLOW: Explanation(
        "The body came too slowly",
        "The connection was open, and the rest of the body did not come in time.",
        "Send the same request again, over a better connection.",
        status=HTTPStatus.REQUEST_TIMEOUT,
    ),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Explanation(
        "The body is of a type that is not taken here",
        "Bodies are JSON; only files are uploaded as multipart/form-data.",
        "Set `Content-Type: application/json`, or send the file in the field `file` of a form.",
        status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ),
    ErrorCode.IDEMPOTENCY_KEY_REUSED: Explanation(
        "The idempotency key belongs to another request",
        "An `Idempotency-Key` stands for one request. This one was sent before with another body.",
        "Take a new key for a new request.",
    ),
    ErrorCode.IDEMPOTENCY_KEY_IN_FLIGHT: Explanation(
        "The first request with this key is still being answered",
        "A request with this `Idempotency-Key` came before and has no answer yet.",
        "Wait for the time that `Retry-After` tells, then send the same request again.",
        status=HTTPStatus.CONFLICT,
    ),
    ErrorCode.RATE_LIMITED: Explanation(
        "Too many calls a second",
        "A project may call so many times a second, so that each has its share. Yours called more often.",
        "Wait for the time that `Retry-After` tells, then send the same request again. Ask for several things at once "
        "where that is possible. `GET /v1/quota` tells the limit.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
    ),
    ErrorCode.QUOTA_EXCEEDED: Explanation(
        "The project's quota is used up",
        "A project may have so many jobs queued and so many bytes stored. This request would pass that.",
        "The detail names the limit. Wait until jobs have started or cancel some; delete what is not needed. "
        "`GET /v1/quota` tells what is used.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
    ),
    ErrorCode.OVERLOADED: Explanation(
        "Too many requests at once",
        "The service does all that it can at the moment, and refuses more rather than letting everybody wait.",
        "Wait for the time that `Retry-After` tells, then send the same request again.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        fault=Fault.INFRASTRUCTURE,
    ),
    ErrorCode.INTERNAL: Explanation(
        "The service has a fault",
        "Something happened that should not. It is not your request's fault, and it is written into the log.",
        "Tell the operator the `x-request-id` of the answer.",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        fault=Fault.INFRASTRUCTURE,
    ),
    ErrorCode.UNAVAILABLE: Explanation(
        "A part of the service does not answer",
        "The database, the store or an inference replica cannot be reached now.",
        "Wait for the time that `Retry-After` tells, then send the same request again. `/readyz` tells what is away.",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        fault=Fault.INFRASTRUCTURE,
    ),
    ErrorCode.INVALID_DATASET: Explanation(
        "The file is no valid data set",
        "The file cannot be read as its type, or some of its records do not fit the kind. Nothing was stored.",
        "Each entry of `errors` names a line or a record. Correct the file and upload it again.",
    ),
    ErrorCode.INVALID_MODEL: Explanation(
        "The archive is no model that can be imported",
        "The zip is damaged or unsafe, a file is missing, config.json asks for something that is not supported, or the "
        "tensors are not those that it asks for. Nothing was stored.",
        "Each entry of `errors` names a file, a field of it or a tensor. docs/import.md tells what is taken.",
    ),
    ErrorCode.RESOURCE_IN_USE: Explanation(
        "Something still needs it",
        "What was to be deleted is needed by a job that has not ended, by another model or by an alias, or is pinned.",
        "The detail names what needs it. Cancel, delete or unpin that first.",
        status=HTTPStatus.CONFLICT,
    ),
    ErrorCode.INVALID_STATE: Explanation(
        "Not in this state",
        "The request does not apply to the state that the resource is in, such as resuming a job that is not paused "
        "or unloading a model that is pinned.",
        "Look at the `status` of the resource, or whether it is `pinned`; the detail names it too.",
        status=HTTPStatus.CONFLICT,
    ),
    ErrorCode.PARENT_INCOMPATIBLE: Explanation(
        "The parent does not fit the method",
        "The method cannot inherit the body of this parent: it reads another kind of input.",
        "The detail names both sides and what would fit. `GET /v1/methods` tells the parents of each method.",
    ),
    ErrorCode.DATASET_INCOMPATIBLE: Explanation(
        "The data set does not fit the method",
        "The method learns from another kind of data set.",
        "The detail names both kinds. `GET /v1/methods` tells the kinds of data sets that each method takes.",
    ),
    ErrorCode.TOO_LARGE: Explanation(
        "The job or the model is too large",
        "By arithmetic, the model or its training needs more than this service allows; or the model, with what is "
        "pinned, more memory than an inference replica gives to models.",
        "Make a job smaller: fewer or narrower layers, a shorter context, a smaller batch. "
        "`POST /v1/jobs/estimate` tells what a job comes to. For a model that is there, the operator can raise "
        "PRETUNE_INFERENCE_CACHE_BYTES, and models that are pinned can be unpinned.",
    ),
    ErrorCode.INVALID_INPUT: Explanation(
        "The model cannot take this input",
        "An input is not of the form that this model was trained on, or a parameter is out of its range.",
        "The detail names the input and what the model takes.",
    ),
    ErrorCode.OPERATION_NOT_SUPPORTED: Explanation(
        "The model cannot do this",
        "The model was trained for something else: a classifier generates no text.",
        "The detail names what this model can do.",
    ),
    ErrorCode.MODEL_CORRUPTED: Explanation(
        "The model's files are damaged",
        "The files in the store are not those that were written: their digests differ. They are not served.",
        "Restore the store from a backup, or train the model again.",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        fault=Fault.INFRASTRUCTURE,
    ),
    ErrorCode.PARENT_FAILED: Explanation(
        "The parent did not succeed",
        "The job waited for its parent, which failed or was cancelled.",
        "Retry the parent. When it has succeeded, retry this job.",
        status=None,
    ),
    ErrorCode.BAD_DATA: Explanation(
        "The data cannot be used",
        "Only the run could find out: too few examples, only one label, a label that the parent never saw; or records "
        "that the model of a batch prediction refuses, each of them.",
        "The message names what is wrong. Upload a data set that holds it, and ask for a new job.",
        status=None,
    ),
    ErrorCode.OUT_OF_MEMORY: Explanation(
        "The training ran out of memory",
        "The training process needed more memory than there is. A job that had begun to train was retried once with "
        "micro-batches of half the size: the same `training.batch_size` in twice the `gradient_accumulation_steps`, "
        "which a `warning` event and the job's `resolved` tell. It ran out of memory again, or a micro-batch was a "
        "single example already.",
        "The message names what is left: a smaller `training.batch_size`, a higher "
        "`training.gradient_accumulation_steps`, a smaller architecture, a shorter context. Of a "
        "Transformer, `training.activation_checkpointing` spares most for the time that it takes.",
        status=None,
    ),
    ErrorCode.LOSS_NOT_FINITE: Explanation(
        "The loss became infinite",
        "The training diverged: its loss or its gradients are no finite numbers any more.",
        "Lower `training.optimizer.learning_rate`, or clip gradients harder with `training.gradient_clip_norm`.",
        status=None,
    ),
    ErrorCode.LOST: Explanation(
        "The trainer was lost too often",
        "Each attempt ended because its process or its machine went away, and no further attempt is made.",
        "Look at the machine that the trainer runs on. Then retry the job: it goes on from its last checkpoint.",
        status=None,
        fault=Fault.INFRASTRUCTURE,
    ),
    ErrorCode.STALLED: Explanation(
        "The training made no progress",
        "The training process lived, but took no step for longer than it may, or told nothing while it prepared its "
        "data. What it printed meanwhile does not count.",
        "Retry the job: it goes on from its last checkpoint. The operator can raise PRETUNE_STALL_SECONDS.",
        status=None,
        fault=Fault.INFRASTRUCTURE,
    ),
    ErrorCode.TIME_LIMIT: Explanation(
        "The job has run for as long as it may",
        "The job reached the `resources.time_limit_seconds` that it was asked for with. All its attempts count, each "
        "from the moment that a trainer took the job; times in which it waited, was queued or paused do not. Its "
        "checkpoints are kept, a last one of this moment among them.",
        "Retry the job: it goes on from its last checkpoint with the whole limit anew. Or promote one of its "
        "checkpoints, or ask for a new job with a higher limit or a shorter duration.",
        status=None,
    ),
    ErrorCode.DISK_FULL: Explanation(
        "The disk is full",
        "The trainer or the store could not write its files, or has not the room that the job would need.",
        "Make room, by deleting jobs, models and data sets too. A job that is queued then starts by itself; one that "
        "failed goes on from its last checkpoint when it is retried.",
        status=None,
        fault=Fault.INFRASTRUCTURE,
    ),
    ErrorCode.TRAINING_CRASHED: Explanation(
        "The training process crashed",
        "The training process ended in a way that it should not. It is not your request's fault.",
        "The end of the job's log tells more. Tell the operator; a retry goes on from the last checkpoint.",
        status=None,
        fault=Fault.INFRASTRUCTURE,
    ),
}


def told_of(code: ErrorCode) -> str:
    """`validation_failed`, answered with 422: the request is at fault. In one line."""
    status, fault = EXPLANATIONS[code].status, EXPLANATIONS[code].fault
    where = "the `error` of a job" if status is None else f"answered with {status.value} {status.phrase}"
    blamed = "the machine or the service" if fault is Fault.INFRASTRUCTURE else "the request or its data"
    return f"`{code}`, {where}. {blamed.capitalize()} is at fault."
