"""What one message, one snapshot and one report may weigh. Both ends hold each other to it."""

VERSION = 1  # of the link protocol; the first byte of every frame

CHUNK_BYTES = 64 * 1024  # of a snapshot; the last one may be shorter
WINDOW_CHUNKS = 16  # credit: chunks that may be on their way to one receiver, 1 MiB
MAX_SNAPSHOT_BYTES = 64 * 1024 * 1024  # 100 k ports need 12 MiB
MAX_DELTA_BYTES = 512 * 1024  # a larger change travels as a snapshot, under credit
MAX_FRAME_BYTES = 1024 * 1024  # any frame; the socket cuts off a peer that sends more

MAX_ERRORS = 200  # objects named in one report; the rest is counted
MAX_PATH = 200  # characters that name an object
MAX_TEXT = 1000  # characters of one error; 200 errors of 1200 4-byte characters are one frame
MAX_FACTS = 64  # of one Status
MAX_SHORTAGES = 16  # the latest, in each Status
MAX_HOSTNAME = 253  # characters: RFC 1123 section 2.1, 255 bytes as RFC 1035 writes it
MAX_CLIENT_ID = 255  # bytes, of one option 61
MAX_LEASES = 500  # of one report; of 2 KB each at most
