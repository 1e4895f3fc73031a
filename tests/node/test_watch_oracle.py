"""EXEC after WATCH fails exactly when it fails with a real server, whatever another client does meanwhile.

Each case is one command of another client. Every key that it names (and the same key in database 1) is
watched by a client of its own, so one run tells of each key whether the command touched it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from node.engine.reply import Status
from node.engine.session import Session
from tests.oracle import Ours, RedisServer, Wire, decoded
from tests.protocol import Words, request, split_replies

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

# What is there before each command.
SCENE = """
SET s 5|SET s2 other|SET t v EX 1000|SET bit a|MSET w string 10 x
RPUSH l a b c|RPUSH l2 x y|RPUSH l1 a|RPUSH n 3 1 2|LPUSH stale 1
SADD st a b c|SADD st2 a d|SADD st1 a|SADD st3 z
HSET h f 1 g text|HSET h1 f 1
ZADD z 1 a 2 b 3 c|ZADD z2 1 a|ZADD z1 1 a
GEOADD g 1 1 a 2 2 b
PFADD p a b|PFADD p2 c|PFADD p3 a|PFADD p3 newer
XADD x 1-1 a b|XADD x 2-1 a b|XADD x 3-1 a b|XGROUP CREATE x gr 0|XREADGROUP GROUP gr c COUNT 2 STREAMS x >
XADD x2 1-1 a b|XGROUP CREATE x2 gr $
SELECT 1|SET s there|SET elsewhere v|SELECT 0
"""

CASES = """
SET s 5|SET s 6|SET none 1|SET s 5 KEEPTTL|SET s 1 NX|SET none 1 NX|SET none 1 XX|SET l 1|SET s 1 XX GET
SET l 1 GET|SET none 1 NX GET|SET s 1 PXAT 1|SET none 1 PXAT 1|SET s 1 EX 0|SET t v EX 1000|SET s|SETNX s 1
SETNX none 1|SETEX s 100 5|SETEX s 0 5|PSETEX none 100000 5|PSETEX l 100000 5|GETSET s 5|GETSET none 5
GETSET l 5|GETDEL s|GETDEL none|GETDEL l|GETEX s|GETEX s PERSIST|GETEX t|GETEX t PERSIST|GETEX s EX 100
GETEX t EX 1000|GETEX none EX 100|GETEX s PXAT 1|GETEX l EX 100|GETEX l|APPEND s x|APPEND none x|APPEND l x
APPEND s EMPTY|APPEND none EMPTY|SETRANGE s 0 5|SETRANGE s 0 EMPTY|SETRANGE none 0 EMPTY|SETRANGE none 3 x
SETRANGE l 0 x|SETRANGE s -1 x|INCR s|INCR none|INCR l|INCR s2|DECR s|INCRBY s 0|INCRBY none 0|DECRBY s 0
DECRBY s2 1|INCRBYFLOAT s 0|INCRBYFLOAT none 0|INCRBYFLOAT s nan|MSET s 5 none 1|MSET s 5 s 6
MSETNX none 1 none2 2|MSETNX s 1 none 2|MSETNX none 1 s 1|MSET s 5 none|SETBIT bit 0 0|SETBIT bit 1 1
SETBIT bit 0 1|SETBIT bit 100 0|SETBIT none 0 0|SETBIT none 0 1|SETBIT l 0 1|SETBIT bit 0 2
BITFIELD bit GET u8 0|BITFIELD bit SET u8 0 97|BITFIELD bit SET u8 0 1|BITFIELD bit INCRBY u8 0 0
BITFIELD none GET u8 0|BITFIELD none SET u8 0 0|BITFIELD bit SET u8 100 0
BITFIELD bit OVERFLOW FAIL INCRBY u8 0 200|BITFIELD l SET u8 0 0|BITFIELD none OVERFLOW FAIL INCRBY u8 0 300
BITFIELD none OVERFLOW FAIL INCRBY u4 0 100|BITFIELD bit GET u8 0 SET u8 0 97|BITOP AND none s s2
BITOP NOT s s|BITOP OR s none none2|BITOP OR none none2|BITOP AND l s|BITOP AND s l|BITOP XOR s s|DEL s
DEL none|DEL s none|DEL none s|DEL none none2|DEL s s|DEL s l none|UNLINK s|UNLINK none s|UNLINK none none2
DEL x h|EXPIRE s 100|EXPIRE none 100|EXPIRE s -1|EXPIRE none -1|EXPIRE s 100 XX|EXPIRE s 100 NX
EXPIRE t 1000|EXPIRE t 100 GT|EXPIRE t 100 LT|EXPIRE s 100 LT|EXPIRE s -1 XX|EXPIRE s x|PEXPIRE s 100000
PEXPIRE s 0|PEXPIRE none 1|EXPIREAT s 1|EXPIREAT s 99999999999|EXPIREAT none 1|PEXPIREAT s 1
PEXPIREAT t 9999999999999|PEXPIREAT t 9999999999999 GT|PEXPIREAT none 1|PERSIST s|PERSIST t|PERSIST none
RENAME s none|RENAME s l|RENAME none s|RENAME s s|RENAME none none|RENAMENX s none|RENAMENX s l|RENAMENX s s
RENAMENX none s|COPY s none|COPY s l|COPY s l REPLACE|COPY none s|COPY none s REPLACE|COPY s s
COPY s none DB 1|COPY s s DB 1|COPY s s DB 1 REPLACE|COPY none s DB 1 REPLACE|COPY s elsewhere DB 1 REPLACE
MOVE s 1|MOVE l 1|MOVE none 1|MOVE elsewhere 1|MOVE s 0|MOVE l 99|FLUSHALL s|FLUSHDB s|SWAPDB 0 s|TOUCH s
TYPE s|OBJECT FREQ s|RESTORE none 0 DUMP|RESTORE s 0 DUMP|RESTORE s 0 DUMP REPLACE
RESTORE s 1 DUMP REPLACE ABSTTL|RESTORE none 1 DUMP REPLACE ABSTTL|RESTORE none 1 DUMP ABSTTL
RESTORE s 0 bad REPLACE|RESTORE none 0 bad|RESTORE none 100000 DUMP|RESTORE-ASKING none 0 DUMP|SORT n
SORT n STORE none|SORT n STORE s|SORT n STORE n|SORT none STORE s|SORT none STORE none2|SORT s STORE l
SORT l STORE none|SORT st STORE st ALPHA|SORT n BY s STORE l LIMIT 0 0|SORT n LIMIT 5 1 STORE l|SORT_RO n
LPUSH l x|LPUSH none x|LPUSH s x|LPUSHX l x|LPUSHX none x|LPUSHX s x|RPUSH l x|RPUSH none x y|RPUSHX l x
RPUSHX none x|LPOP l|LPOP none|LPOP s|LPOP l 0|LPOP none 0|LPOP l 2|LPOP l1|RPOP l|RPOP none|RPOP l 0
RPOP l1 5|RPOP l -1|LSET l 0 a|LSET l 9 a|LSET none 0 a|LSET s 0 a|LINSERT l BEFORE a x
LINSERT l AFTER nosuch x|LINSERT none BEFORE a x|LINSERT s BEFORE a x|LREM l 0 a|LREM l 0 nosuch
LREM none 0 a|LREM l1 1 a|LREM s 0 a|LTRIM l 0 -1|LTRIM l 1 1|LTRIM l 5 1|LTRIM none 0 1|LTRIM s 0 1
LTRIM l 0 100|LTRIM l x 1|LTRIM l1 0 0|LMOVE l l2 LEFT RIGHT|LMOVE l none LEFT LEFT|LMOVE none l LEFT LEFT
LMOVE l l LEFT RIGHT|LMOVE l l LEFT LEFT|LMOVE l1 l1 LEFT LEFT|LMOVE l1 l2 LEFT LEFT|LMOVE l s LEFT LEFT
LMOVE s l LEFT LEFT|LMOVE none s LEFT LEFT|RPOPLPUSH l l2|RPOPLPUSH none l|RPOPLPUSH l l|RPOPLPUSH l1 none
RPOPLPUSH s l|BLMOVE l l2 LEFT RIGHT 1|BLMOVE none l LEFT RIGHT .01|BLMOVE l1 none LEFT RIGHT 1
BRPOPLPUSH l l2 1|BRPOPLPUSH none l2 .01|BLMOVE l l RIGHT LEFT 1|BRPOPLPUSH l1 l1 1
BLMOVE none s LEFT LEFT .01|BLMOVE s l LEFT LEFT .01|BLPOP l 1|BLPOP none l 1|BLPOP l none 1|BLPOP l l2 1
BLPOP l1 l 1|BLPOP l2 l1 l 1|BLPOP none none2 .01|BLPOP s l 1|BLPOP l s 1|BLPOP none s l 1|BLPOP l l2 -1
BRPOP l 1|BRPOP none l l2 1|BRPOP l1 l2 1|BRPOP none .01|BLPOP l l 1|BLPOP l2 l l 1|LMPOP 2 l l2 LEFT
LMPOP 2 none l RIGHT|LMPOP 3 l1 l l2 LEFT COUNT 5|LMPOP 2 none none2 LEFT|LMPOP 2 l s LEFT|LMPOP 2 s l LEFT
LMPOP 0 l LEFT|LMPOP 3 none l l2 LEFT|BLMPOP 1 2 l l2 LEFT|BLMPOP 1 2 none l RIGHT COUNT 9
BLMPOP .01 2 none none2 LEFT|BLMPOP 1 3 none l1 l LEFT|BLMPOP 1 2 s l LEFT|SADD st a|SADD st x|SADD none x
SADD s x|SADD st a x|SREM st a|SREM st x|SREM none a|SREM st1 a|SREM s a|SPOP st|SPOP none|SPOP st 0
SPOP st 9|SPOP st1|SPOP none 5|SPOP s|SPOP st 1|SPOP st -1|SMOVE st st2 a|SMOVE st st2 b|SMOVE st st2 nosuch
SMOVE st none a|SMOVE st1 none a|SMOVE st1 st2 a|SMOVE none st a|SMOVE st st a|SMOVE st st nosuch
SMOVE st1 st1 a|SMOVE st s a|SMOVE s st a|SMOVE none s a|SMOVE st1 st3 a|SINTERSTORE none st st2
SINTERSTORE none st st3|SINTERSTORE s st st3|SINTERSTORE st st st|SINTERSTORE s none st
SINTERSTORE none s st|SUNIONSTORE none st st2|SUNIONSTORE st st st|SUNIONSTORE s none none2
SUNIONSTORE none none2|SUNIONSTORE none s|SDIFFSTORE none st st2|SDIFFSTORE s st st|SDIFFSTORE none st st
SDIFFSTORE st none st2|SDIFFSTORE s2 s st|HSET h f 1|HSET h f 2|HSET none f 1|HSET s f 1|HSET h f 1 new 2
HSET h f|HMSET h f 1|HMSET none f 1|HSETNX h f 1|HSETNX h new 1|HSETNX none f 1|HSETNX s f 1|HDEL h f
HDEL h nosuch|HDEL none f|HDEL h1 f|HDEL h f f nosuch|HDEL s f|HINCRBY h f 0|HINCRBY h new 0|HINCRBY h g 1
HINCRBY none f 0|HINCRBYFLOAT h f 0|HINCRBYFLOAT none f 0|HINCRBYFLOAT h g 1|HGET h f|HSCAN h 0|ZADD z 1 a
ZADD z 5 a|ZADD z 1 new|ZADD none 1 a|ZADD s 1 a|ZADD z NX 5 a|ZADD z XX 5 a|ZADD z XX 1 a|ZADD z XX 5 new
ZADD none XX 5 a|ZADD z GT 0 a|ZADD z LT 0 a|ZADD z CH 1 a|ZADD z INCR 0 a|ZADD z INCR 1 a
ZADD z NX INCR 1 a|ZADD none INCR 0 a|ZADD none GT 1 a|ZADD z x a|ZINCRBY z 0 a|ZINCRBY z 1 a
ZINCRBY none 0 a|ZINCRBY z 0 new|ZINCRBY s 0 a|ZREM z a|ZREM z nosuch|ZREM none a|ZREM z1 a|ZREM s a
ZPOPMIN z|ZPOPMIN z 0|ZPOPMIN none|ZPOPMIN z1|ZPOPMIN s|ZPOPMAX z|ZPOPMAX z 9|ZPOPMAX none 1
ZREMRANGEBYRANK z 0 0|ZREMRANGEBYRANK z 5 9|ZREMRANGEBYRANK none 0 1|ZREMRANGEBYRANK z 0 -1
ZREMRANGEBYSCORE z 1 1|ZREMRANGEBYSCORE z 8 9|ZREMRANGEBYSCORE none 1 1|ZREMRANGEBYLEX z - +
ZREMRANGEBYLEX z [x [y|ZREMRANGEBYLEX none - +|ZREMRANGEBYSCORE z x y|ZREMRANGEBYSCORE s 0 1
ZRANGESTORE none z 0 -1|ZRANGESTORE none z 5 9|ZRANGESTORE s z 5 9|ZRANGESTORE s none 0 1
ZRANGESTORE none none2 0 1|ZRANGESTORE z z 0 -1|ZRANGESTORE none s 0 1|ZRANGESTORE s z 0 0
ZUNIONSTORE none 2 z z2|ZUNIONSTORE z 1 z|ZUNIONSTORE s 1 none|ZUNIONSTORE none 1 none2|ZUNIONSTORE none 1 s
ZINTERSTORE none 2 z z2|ZINTERSTORE none 2 z none2|ZINTERSTORE s 2 z none|ZINTERSTORE z 2 z z
ZDIFFSTORE none 2 z z2|ZDIFFSTORE none 2 z z|ZDIFFSTORE s 2 z z|ZDIFFSTORE z 1 z|ZMPOP 2 z z2 MIN
ZMPOP 2 none z MAX|ZMPOP 2 z1 z MIN COUNT 5|ZMPOP 2 none none2 MIN|ZMPOP 2 s z MIN|ZMPOP 2 z s MIN
ZMPOP 3 none z2 z MAX|BZMPOP 1 2 z z2 MIN|BZMPOP 1 3 none z1 z MAX|BZMPOP .01 2 none none2 MIN
BZMPOP 1 2 s z MIN|BZPOPMIN z 1|BZPOPMIN none z 1|BZPOPMIN z z2 1|BZPOPMIN z1 z 1|BZPOPMIN none .01
BZPOPMIN s z 1|BZPOPMAX z z2 1|BZPOPMAX none z1 z 1|BZPOPMAX none none2 .01|BZPOPMAX z s 1|GEOADD g 1 1 a
GEOADD g 5 5 a|GEOADD g 1 1 new|GEOADD none 1 1 a|GEOADD s 1 1 a|GEOADD g XX 5 5 new|GEOADD g NX 5 5 a
GEORADIUS g 1 1 1 km STORE none|GEORADIUS g 80 80 1 km STORE none|GEORADIUS g 80 80 1 km STORE s
GEORADIUS none 1 1 1 km STORE s|GEORADIUS none 1 1 1 km STORE none2|GEORADIUS g 1 1 1 km
GEORADIUS g 1 1 1 km STOREDIST z|GEORADIUS s 1 1 1 km STORE none
GEORADIUS g 1 1 1 km STORE none STOREDIST none2|GEORADIUS g 1 1 1 km STORE g
GEORADIUSBYMEMBER g a 1 km STORE none|GEORADIUSBYMEMBER g a 1 km|GEORADIUSBYMEMBER none a 1 km STORE s
GEORADIUSBYMEMBER g nosuch 1 km STORE s|GEORADIUSBYMEMBER g a 1 km STOREDIST s
GEOSEARCHSTORE none g FROMMEMBER a BYRADIUS 1 km|GEOSEARCHSTORE s g FROMLONLAT 80 80 BYRADIUS 1 km
GEOSEARCHSTORE s none FROMLONLAT 1 1 BYRADIUS 1 km|GEOSEARCHSTORE none none2 FROMLONLAT 1 1 BYRADIUS 1 km
GEOSEARCHSTORE g g FROMMEMBER a BYRADIUS 1 km|GEOSEARCHSTORE s s2 FROMLONLAT 1 1 BYRADIUS 1 km|PFADD p a
PFADD p new|PFADD none a|PFADD none|PFADD p|PFADD s a|PFADD l a|PFCOUNT p|PFCOUNT p3|PFCOUNT p p2
PFCOUNT none|PFCOUNT p p3|PFMERGE p p2|PFMERGE none p|PFMERGE p|PFMERGE none|PFMERGE none none2|PFMERGE p p
PFMERGE p s|PFMERGE s p|PFDEBUG TODENSE p|PFDEBUG ENCODING p|PFDEBUG GETREG p|PFDEBUG DECODE p|XADD x * a b
XADD none 1-1 a b|XADD none NOMKSTREAM * a b|XADD x 1-1 a b|XADD s * a b|XADD x MAXLEN 1 * a b
XADD x MAXLEN 0 * a b|XDEL x 1-1|XDEL x 9-9|XDEL none 1-1|XDEL x 1-1 2-1 3-1|XDEL s 1-1|XTRIM x MAXLEN 9
XTRIM x MAXLEN 1|XTRIM x MAXLEN 0|XTRIM none MAXLEN 0|XTRIM s MAXLEN 0|XTRIM x MINID 2-1|XSETID x 9-9
XSETID x 3-1|XSETID x 1-1|XSETID none 1-1|XSETID x 9-9 ENTRIESADDED 100 MAXDELETEDID 1-1|XSETID s 1-1
XACK x gr 1-1|XACK x gr 9-9|XACK x nosuch 1-1|XACK none gr 1-1|XACK s gr 1-1|XACK x gr 1-1 2-1
XACK x2 gr 1-1|XGROUP CREATE x new 0|XGROUP CREATE x gr 0|XGROUP CREATE none gr 0
XGROUP CREATE none gr 0 MKSTREAM|XGROUP CREATE x new $ MKSTREAM|XGROUP CREATE s gr 0|XGROUP CREATE x new bad
XGROUP SETID x gr 1-1|XGROUP SETID x gr 0|XGROUP SETID x nosuch 0|XGROUP SETID none gr 0
XGROUP SETID x2 gr $|XGROUP DESTROY x gr|XGROUP DESTROY x nosuch|XGROUP DESTROY none gr|XGROUP DESTROY x2 gr
XGROUP DESTROY s gr|XGROUP CREATECONSUMER x gr c|XGROUP CREATECONSUMER x gr new
XGROUP CREATECONSUMER x nosuch c|XGROUP CREATECONSUMER none gr c|XGROUP DELCONSUMER x gr c
XGROUP DELCONSUMER x gr nosuch|XGROUP DELCONSUMER none gr c|XGROUP DELCONSUMER x nosuch c
XREADGROUP GROUP gr c STREAMS x >|XREADGROUP GROUP gr c STREAMS x 0|XREADGROUP GROUP gr new STREAMS x >
XREADGROUP GROUP gr new STREAMS x 0|XREADGROUP GROUP gr c NOACK STREAMS x >
XREADGROUP GROUP gr c STREAMS x x2 > >|XREADGROUP GROUP gr new STREAMS x2 >
XREADGROUP GROUP gr c STREAMS x2 x > >|XREADGROUP GROUP gr c STREAMS none >
XREADGROUP GROUP nosuch c STREAMS x >|XREADGROUP GROUP gr c STREAMS s >
XREADGROUP GROUP gr c STREAMS x none > >|XREADGROUP GROUP gr c STREAMS x x2 > 0
XREADGROUP GROUP gr c COUNT 1 STREAMS x 9|XREAD STREAMS x 0|XCLAIM x gr c 0 1-1|XCLAIM x gr other 0 1-1
XCLAIM x gr other 0 9-9|XCLAIM x gr other 100000 1-1|XCLAIM x gr c 0 3-1 FORCE
XCLAIM x gr other 0 1-1 JUSTID|XCLAIM x gr other 0 9-9 LASTID 9-9|XCLAIM none gr c 0 1-1
XCLAIM x nosuch c 0 1-1|XCLAIM s gr c 0 1-1|XAUTOCLAIM x gr c 0 0|XAUTOCLAIM x gr other 0 0
XAUTOCLAIM x gr other 100000 0|XAUTOCLAIM x nosuch c 0 0|XAUTOCLAIM none gr c 0 0
XAUTOCLAIM x gr other 0 0 JUSTID|XAUTOCLAIM x2 gr other 0 0|XAUTOCLAIM s gr c 0 0|XPENDING x gr
EXPIRE nosuch|DEL|LPUSH l|HSET h f 1 g|XADD x 5-5 a|ZADD z 1|SADD st
"""


def _lines(text: str) -> list[str]:
    return [each for line in text.strip().splitlines() for each in line.split("|")]


NAMES = frozenset(
    _lines("s|s2|t|bit|l|l2|l1|n|st|st2|st1|st3|h|h1|z|z2|z1|g|p|p2|p3|x|x2|none|none2|elsewhere")
)


class Side:
    """One server of the two, and its clients."""

    def __init__(self, server: Ours | RedisServer, clients: ExitStack) -> None:
        self._server = server
        self._clients = clients
        self._watchers: dict[tuple[int, bytes], Session | Wire] = {}
        self.writer = self.connect()
        self.dump = b""

    def connect(self) -> Session | Wire:
        if isinstance(self._server, Ours):
            return self._server.connect()
        return self._clients.enter_context(self._server.connect())

    @staticmethod
    def tell(client: Session | Wire, commands: list[Words]) -> list[bytes]:
        if isinstance(client, Wire):
            return client.pipeline(commands)
        return split_replies(client.feed(b"".join(map(request, commands))))

    def watch(self, place: tuple[int, bytes]) -> None:
        if place not in self._watchers:
            watcher = self._watchers[place] = self.connect()
            self.tell(watcher, [[b"SELECT", b"%d" % place[0]]])
        assert self.tell(self._watchers[place], [[b"WATCH", place[1]]]) == [b"+OK\r\n"]

    def survives(self, place: tuple[int, bytes]) -> bool:
        """Whether EXEC of the client that watches this key does what was queued."""
        return self.tell(self._watchers[place], [[b"MULTI"], [b"PING"], [b"EXEC"]])[2] == b"*1\r\n+PONG\r\n"

    def begin(self) -> None:
        """The scene, as if nothing had happened yet."""
        scene: list[Words] = [[b"FLUSHALL"]]
        scene += [line.encode().split() for line in _lines(SCENE)]
        replies = self.tell(self.writer, [*scene, [b"DUMP", b"s"]])
        assert not [reply for reply in replies if reply[:1] == b"-"], replies
        dump = decoded(replies[-1])
        assert isinstance(dump, bytes)
        self.dump = dump

    def words(self, line: str) -> Words:
        stands_for = {b"DUMP": self.dump, b"EMPTY": b""}
        return [stands_for.get(word, word) for word in line.encode().split()]


# Of several clients: "a: WATCH k", one step behind the other.
STORIES = (
    # A key whose time is over is gone, whoever finds out; one that was gone already stays so.
    "b: SET k v PXAT 1|a: WATCH k|b: DEL k|a: EXEC",
    "b: SET k v PXAT 1|a: WATCH k|b: EXISTS k|b: DEL k none|b: SET other v|a: EXEC",
    "b: SET k v PXAT 1|a: WATCH k|b: SETNX k v|a: EXEC",
    "b: SET k v|a: WATCH k|b: EXPIRE k -1|a: EXEC",
    "b: SET k v|a: WATCH k|b: PEXPIREAT k 1|b: SET k v|a: EXEC",
    "a: WATCH k|b: SET k v|b: DEL k|a: EXEC",
    "b: RPUSH k 1|a: WATCH k|b: LPOP k|b: RPUSH k 1|a: EXEC",
    "b: RPUSH k 1|a: WATCH k|c: WATCH k|b: BLPOP none k 1|a: EXEC|a: WATCH k|b: DEL k none|c: EXEC|a: EXEC",
    # What one's own hands did counts, too.
    "a: WATCH k|a: SET k v|a: EXEC",
    "a: WATCH k none|a: SET k v|a: UNWATCH|a: DEL k|a: EXEC",
    "a: WATCH k|a: WATCH k|b: DEL k none|a: EXEC|a: WATCH k|b: SET k v|a: EXEC|b: SET k w|a: EXEC",
    # BITFIELD that overflows leaves a key behind and tells nobody; who deletes it does.
    "a: WATCH k|b: BITFIELD k OVERFLOW FAIL INCRBY u8 0 300|c: WATCH k|b: DEL k|a: EXEC|c: EXEC",
    "a: WATCH k|b: MULTI|b: BITFIELD k OVERFLOW FAIL INCRBY u8 0 300|b: DEL k|b: EXEC|a: EXEC",
    "a: WATCH k|b: BITFIELD k OVERFLOW FAIL INCRBY u8 0 300|b: LPUSH k 1|b: DEL none|a: EXEC",
    # Other databases, and the whole of them.
    "a: SELECT 1|a: WATCH k|b: SET k v|a: EXEC|a: WATCH k|b: MOVE k 1|a: EXEC|a: WATCH k|b: MOVE k 1|a: EXEC",
    "b: SET k v|a: WATCH k|b: COPY k k DB 2|a: EXEC|a: SELECT 2|a: WATCH k|b: COPY k k DB 2 REPLACE|a: EXEC",
    "b: SET k v|a: WATCH k|b: SWAPDB 3 4|a: EXEC|a: WATCH k|b: SWAPDB 0 3|a: EXEC",
    "a: WATCH k|b: FLUSHALL|b: FLUSHDB|a: EXEC|b: SET k v|a: WATCH k|b: FLUSHALL|a: EXEC",
    "b: MULTI|b: SET k v|a: WATCH k|b: DEL none|b: EXEC|a: EXEC",
    "b: MULTI|b: SET k v|a: WATCH k|b: DISCARD|a: EXEC",
    # A command that fails in the midst of a transaction, and the one behind it.
    "b: SET k v|a: WATCH k none|b: MULTI|b: LPUSH k 1|b: DEL none|b: EXEC|a: EXEC",
    "b: SET k v|a: WATCH k none|b: MULTI|b: LPUSH k 1|b: APPEND k x|b: EXEC|a: EXEC",
    # Groups of a stream are no part of what is watched; the stream is.
    "b: XADD k 1-1 a b|a: WATCH k|b: XGROUP CREATE k g 0|b: XREADGROUP GROUP g c STREAMS k >|b: XACK k g 1-1|"
    "a: EXEC|a: WATCH k|b: XDEL k 1-1|a: EXEC",
    "a: WATCH k|b: XGROUP CREATE k g 0 MKSTREAM|a: EXEC|a: WATCH k|b: XGROUP DESTROY k g|a: EXEC|"
    "a: WATCH k|b: DEL k|a: EXEC",
)


@pytest.fixture(scope="module")
def sides(redis_server: RedisServer) -> Iterator[tuple[Side, Side]]:
    with ExitStack() as clients:
        yield Side(Ours(), clients), Side(redis_server, clients)


def _places(line: str) -> list[tuple[int, bytes]]:
    """What a command may touch: the keys that it names, and with another database those there."""
    names = sorted({word.encode() for word in line.split() if word in NAMES})
    databases = (0, 1) if line.startswith(("COPY", "MOVE", "SWAPDB", "FLUSH")) else (0,)
    return [(database, name) for database in databases for name in names]


def _waits(line: str) -> bool:
    return " .01" in line


def _outcome(
    side: Side, line: str, in_transaction: bool
) -> tuple[list[bytes], dict[tuple[int, bytes], bool]]:
    side.begin()
    places = _places(line)
    for place in places:
        side.watch(place)
    words = side.words(line)
    replies = side.tell(side.writer, [[b"MULTI"], words, [b"EXEC"]] if in_transaction else [words])
    return replies, {place: side.survives(place) for place in places}


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_command_touches_what_it_touches_in_redis(sides: tuple[Side, Side], in_transaction: bool) -> None:
    different = []
    for line in _lines(CASES):
        if _waits(line) and not in_transaction:
            continue  # for nothing
        (mine, survived), (its, expected) = (_outcome(side, line, in_transaction) for side in sides)
        if [reply[:1] for reply in mine] != [reply[:1] for reply in its]:
            different.append(f"{line}: replies {mine} {its}")
        for place in survived:
            if survived[place] != expected[place]:
                here = f"{place[1].decode()} in {place[0]}"
                different.append(
                    f"{line}: {here} is touched {'by redis' if survived[place] else 'by us'} only"
                )
    assert not different, "\n".join(different)


def _told(server: Ours | RedisServer, story: str) -> list[bytes]:
    with ExitStack() as clients:
        side = Side(server, clients)
        side.tell(side.writer, [[b"FLUSHALL"]])
        said = []
        people: dict[str, Session | Wire] = {}
        for step in story.split("|"):
            name, _, line = step.partition(": ")
            if name not in people:
                people[name] = side.connect()
            words: Words = line.encode().split()
            # Who watches has queued nothing yet.
            said += side.tell(
                people[name],
                [[b"MULTI"], [b"PING"], words] if step.endswith(("a: EXEC", "c: EXEC")) else [words],
            )
        for client in people.values():
            side.tell(client, [[b"RESET"]])
    return said


@pytest.mark.parametrize("story", STORIES)
def test_several_clients(redis_server: RedisServer, story: str) -> None:
    assert _told(Ours(), story) == _told(redis_server, story)


def test_every_command_that_writes_has_a_case(sides: tuple[Side, Side]) -> None:
    """What a server's own table says of both is what must be asked."""

    def writers(side: Side) -> set[bytes]:
        rows = decoded(side.tell(side.writer, [[b"COMMAND"]])[0])
        assert isinstance(rows, list)
        return {row[0] for row in rows if Status(b"write") in row[2]}  # type: ignore[index, operator]

    asked = {line.split()[0].lower().encode() for line in _lines(CASES)}
    common = writers(sides[0]) & writers(sides[1])
    assert {b"set", b"bzmpop"} <= common <= asked
