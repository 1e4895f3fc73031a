from typing_extensions import Buffer

def unpack(packed: Buffer, plain_bytes: int) -> bytes:
    """Undoes LZF. The caller says how long the result is.

    Raises:
        ValueError: `packed` is not the LZF form of `plain_bytes` bytes.
    """
