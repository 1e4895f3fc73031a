def crc64(data: bytes, crc: int = 0) -> int:
    """CRC-64/Jones of `data`, continued from `crc`."""
