"""How much one file may ask for. A file beyond a limit is refused with the limit's value in the message."""

MIB = 1 << 20

MAX_ERRORS_TOLD = 20
#: The longest line, CSV record, text field or packed image.
MAX_RECORD_BYTES = 16 * MIB
MAX_LABELS = 10_000
MAX_LABEL_CHARACTERS = 1_000
MAX_INTEGER_BITS = 63

MAX_ARCHIVE_ENTRIES = 200_000
MAX_UNPACKED_BYTES = 16 << 30
#: Above `RATIO_FREE_BYTES` an archive may unpack to at most this many times its size; deflate's own limit is 1,032.
MAX_UNPACK_RATIO = 250
RATIO_FREE_BYTES = 16 * MIB

MAX_IMAGE_PIXELS = 4096 * 4096
MAX_IMAGE_CHANNELS = 4
