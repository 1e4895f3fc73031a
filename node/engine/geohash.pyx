"""Places on the earth as 52-bit numbers.

Longitude and latitude are each a row of 26 bits: of 2**26 equal parts of their range, which one. Interleaved,
longitude first, they make a number in which neighbours often share their leading bits:

    bit 51    50    49    48   ..   1     0
       lon   lat   lon   lat   ..  lon   lat

A double holds 53 bits, so such a number is a score, and a sorted set of scores finds everything in a cell of the
grid as one range. A search covers its shape with the cell around its center and that cell's eight neighbours, as
coarse as they must be.

The latitude ends at 85.05112878 degrees, where the Mercator projection is square. Numbers, order of the cells and
distances are Redis's, to the last bit, so that values and answers travel.

Source: Niemeyer's geohash (https://en.wikipedia.org/wiki/Geohash); haversine distance on a sphere of 6,372,797.560856 m.
"""

from libc.math cimport M_PI, asin, cos, fabs, sin, sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef double EARTH_RADIUS = 6372797.560856
cdef double EQUATOR_HALF = 20037726.37
cdef double LONGITUDE_MAX = 180
cdef double LATITUDE_MAX = 85.05112878

# The cells around one: the center, north, south, east, west, and the corners.
cdef int COLUMNS[CELLS_MAX]
cdef int ROWS[CELLS_MAX]
COLUMNS[:] = [0, 0, 0, 1, -1, 1, -1, 1, -1]
ROWS[:] = [0, 1, -1, 0, 0, 1, 1, -1, -1]

cdef const char *ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"


cdef bint place_valid(Place place) noexcept nogil:
    return -LONGITUDE_MAX <= place.longitude <= LONGITUDE_MAX and -LATITUDE_MAX <= place.latitude <= LATITUDE_MAX


cdef inline double _radians(double degrees) noexcept nogil:
    return degrees * (M_PI / 180)


cdef inline double _degrees(double radians) noexcept nogil:
    return radians / (M_PI / 180)


# --- numbers ---------------------------------------------------------------------------------------------

# Bit i goes to bit 2 i.
cdef inline uint64_t _spread(uint32_t number) noexcept nogil:
    cdef uint64_t bits = number
    bits = (bits | bits << 16) & 0x0000FFFF0000FFFFULL
    bits = (bits | bits << 8) & 0x00FF00FF00FF00FFULL
    bits = (bits | bits << 4) & 0x0F0F0F0F0F0F0F0FULL
    bits = (bits | bits << 2) & 0x3333333333333333ULL
    return (bits | bits << 1) & 0x5555555555555555ULL


cdef inline uint32_t _gather(uint64_t bits) noexcept nogil:
    bits &= 0x5555555555555555ULL
    bits = (bits | bits >> 1) & 0x3333333333333333ULL
    bits = (bits | bits >> 2) & 0x0F0F0F0F0F0F0F0FULL
    bits = (bits | bits >> 4) & 0x00FF00FF00FF00FFULL
    bits = (bits | bits >> 8) & 0x0000FFFF0000FFFFULL
    return <uint32_t> (bits | bits >> 16)


cdef inline uint64_t _bits(Cell cell) noexcept nogil:
    return _spread(cell.row) | _spread(cell.column) << 1


cdef inline Cell _cell_at(Place place, double latitude_max, int steps) noexcept nogil:
    cdef Cell cell
    cdef double parts = <double> ((<uint64_t> 1) << steps)
    cell.row = <uint32_t> ((place.latitude + latitude_max) / (2 * latitude_max) * parts)
    cell.column = <uint32_t> ((place.longitude + LONGITUDE_MAX) / (2 * LONGITUDE_MAX) * parts)
    cell.steps = steps
    return cell


cdef uint64_t place_score(Place place) noexcept nogil:
    return _bits(_cell_at(place, LATITUDE_MAX, GEO_STEPS))


cdef inline Area _area(Cell cell) noexcept nogil:
    cdef Area area
    cdef double parts = <double> ((<uint64_t> 1) << cell.steps)
    area.south = -LATITUDE_MAX + (cell.row * 1.0 / parts) * (2 * LATITUDE_MAX)
    area.north = -LATITUDE_MAX + ((<double> cell.row + 1) / parts) * (2 * LATITUDE_MAX)
    area.west = -LONGITUDE_MAX + (cell.column * 1.0 / parts) * (2 * LONGITUDE_MAX)
    area.east = -LONGITUDE_MAX + ((<double> cell.column + 1) / parts) * (2 * LONGITUDE_MAX)
    return area


# Of a score that is no place, too: as the processor has it that most redis-servers run on (x86-64).
cdef inline uint64_t _score_bits(double score) noexcept nogil:
    if score >= 18446744073709551616.0:
        return 0
    if score < -9223372036854775808.0:
        return <uint64_t> 1 << 63
    if score < 0:
        return <uint64_t> <int64_t> score
    return <uint64_t> score


cdef Place score_place(double score) noexcept nogil:
    cdef uint64_t bits = _score_bits(score)
    cdef Area area = _area(Cell(_gather(bits >> 1), _gather(bits), GEO_STEPS))
    cdef Place place
    place.longitude = (area.west + area.east) / 2
    place.latitude = (area.south + area.north) / 2
    # Of scores that are no places.
    place.longitude = min(max(place.longitude, -LONGITUDE_MAX), LONGITUDE_MAX)
    place.latitude = min(max(place.latitude, -LATITUDE_MAX), LATITUDE_MAX)
    return place


cdef void place_text(Place place, char *out) noexcept nogil:
    cdef uint64_t bits = _bits(_cell_at(place, 90, GEO_STEPS))
    cdef int at
    # Of the eleventh character 52 bits hold but two: Redis always writes a 0.
    for at in range(10):
        out[at] = ALPHABET[(bits >> (47 - 5 * at)) & 31]
    out[10] = ALPHABET[0]


# --- distances -------------------------------------------------------------------------------------------

cdef inline double _between_latitudes(double here, double there) noexcept nogil:
    return EARTH_RADIUS * fabs(_radians(there) - _radians(here))


cdef double places_distance(Place here, Place there) noexcept nogil:
    cdef double across = sin((_radians(there.longitude) - _radians(here.longitude)) / 2)
    cdef double along, own_latitude, other_latitude
    if across == 0:
        return _between_latitudes(here.latitude, there.latitude)
    own_latitude = _radians(here.latitude)
    other_latitude = _radians(there.latitude)
    along = sin((other_latitude - own_latitude) / 2)
    return 2 * EARTH_RADIUS * asin(
        sqrt(along * along + cos(own_latitude) * cos(other_latitude) * across * across)
    )


cdef bint shape_holds(const Shape *shape, Place place, double *distance) noexcept nogil:
    cdef Place beside
    if not shape.is_box:
        distance[0] = places_distance(shape.center, place)
        return distance[0] <= shape.radius * shape.unit
    if _between_latitudes(place.latitude, shape.center.latitude) > shape.height * shape.unit / 2:
        return False
    beside = Place(shape.center.longitude, place.latitude)
    if places_distance(place, beside) > shape.width * shape.unit / 2:
        return False
    distance[0] = places_distance(shape.center, place)
    return True


# --- cells -----------------------------------------------------------------------------------------------

# How fine a grid may be whose cells are still as large as the shape.
cdef inline int _steps_for(double meters, double latitude) noexcept nogil:
    cdef int steps = 1
    if meters == 0:
        return GEO_STEPS
    while meters < EQUATOR_HALF:
        meters *= 2
        steps += 1
    steps -= 2
    # Cells are narrow near the poles.
    if latitude > 66 or latitude < -66:
        steps -= 1
        if latitude > 80 or latitude < -80:
            steps -= 1
    return min(max(steps, 1), <int> GEO_STEPS)


cdef inline Cell _neighbour(Cell cell, int columns, int rows) noexcept nogil:
    # Around the world. At the far edges a column or row may be one too many; it is only brought back by a move.
    cdef uint32_t mask = (<uint32_t> 1 << cell.steps) - 1
    if columns != 0:
        cell.column = (cell.column + <uint32_t> columns) & mask
    if rows != 0:
        cell.row = (cell.row + <uint32_t> rows) & mask
    return cell


cdef inline Area _bounds(const Shape *shape) noexcept nogil:
    cdef Area bounds
    cdef double height = shape.unit * (shape.height / 2 if shape.is_box else shape.radius)
    cdef double width = shape.unit * (shape.width / 2 if shape.is_box else shape.radius)
    cdef double up = _degrees(height / EARTH_RADIUS)
    # A length spans most degrees at the side that is nearer to the pole.
    cdef double latitude = shape.center.latitude
    cdef double pole_side = latitude - up if latitude < 0 else latitude + up
    cdef double aside = _degrees(width / EARTH_RADIUS / cos(_radians(pole_side)))
    bounds.west = shape.center.longitude - aside
    bounds.east = shape.center.longitude + aside
    bounds.south = latitude - up
    bounds.north = latitude + up
    return bounds


cdef int shape_cells(const Shape *shape, Cell *cells) noexcept nogil:
    cdef double meters = shape.radius
    cdef Area bounds = _bounds(shape)
    cdef Area area
    cdef Cell center, cell
    cdef int at, steps, count = 0, last = 0
    if shape.is_box:
        meters = sqrt((shape.width / 2) * (shape.width / 2) + (shape.height / 2) * (shape.height / 2))
    steps = _steps_for(meters * shape.unit, shape.center.latitude)
    center = _cell_at(shape.center, LATITUDE_MAX, steps)
    # One coarser when the shape reaches beyond a neighbour.
    if steps > 1 and (
        _area(_neighbour(center, 0, 1)).north < bounds.north
        or _area(_neighbour(center, 0, -1)).south > bounds.south
        or _area(_neighbour(center, 1, 0)).east < bounds.east
        or _area(_neighbour(center, -1, 0)).west > bounds.west
    ):
        steps -= 1
        center = _cell_at(shape.center, LATITUDE_MAX, steps)
    area = _area(center)
    for at in range(CELLS_MAX):
        # Where the shape does not leave the center's cell, there is nothing to find behind that side.
        if steps >= 2 and (
            (ROWS[at] < 0 and area.south < bounds.south)
            or (ROWS[at] > 0 and area.north > bounds.north)
            or (COLUMNS[at] < 0 and area.west < bounds.west)
            or (COLUMNS[at] > 0 and area.east > bounds.east)
        ):
            continue
        cell = _neighbour(center, COLUMNS[at], ROWS[at])
        # Two neighbours may be the same cell of a coarse grid. As Redis, which compares with the one before, but
        # never with the center.
        if last > 0 and cell.column == cells[count - 1].column and cell.row == cells[count - 1].row:
            continue
        cells[count] = cell
        count += 1
        last = at
    return count


cdef void cell_scores(Cell cell, double *low, double *high) noexcept nogil:
    cdef uint64_t bits = _bits(cell)
    cdef int shift = 2 * (GEO_STEPS - cell.steps)
    low[0] = <double> (bits << shift)
    high[0] = <double> ((bits + 1) << shift)
