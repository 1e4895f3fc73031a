"""The compiled room: spans, codecs, slot tables, sessions and the pump."""
