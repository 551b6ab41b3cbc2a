"""What only an inference replica can run into."""

from http import HTTPStatus

from app.contract.errors import ErrorCode, ServiceError


class ModelCorrupted(ServiceError):
    """The stored files are not the model that was registered: nothing a caller can mend."""

    code = ErrorCode.MODEL_CORRUPTED


class ModelTooLarge(ServiceError):
    """The model is larger than all the memory a replica may hold models in: whoever registered it can mend that."""

    code = ErrorCode.TOO_LARGE
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class InvalidInput(ServiceError):
    """The input is not what the model's method takes. `errors` locate each: `inputs.3`."""

    code = ErrorCode.INVALID_INPUT
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class OperationNotSupported(ServiceError):
    code = ErrorCode.OPERATION_NOT_SUPPORTED
    status = HTTPStatus.UNPROCESSABLE_ENTITY
