# Places on the earth as 52-bit numbers, and distances between them.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    GEO_STEPS = 26  # bits of each coordinate in a score

cdef struct Place:
    double longitude  # degrees, -180 to 180
    double latitude  # degrees, -85.05112878 to 85.05112878

# A cell of the grid that has 2**steps columns and as many rows.
cdef struct Cell:
    uint32_t column
    uint32_t row
    int steps

cdef struct Area:
    double west
    double east
    double south
    double north

# What is searched. Lengths are in meters once multiplied by `unit`.
cdef struct Shape:
    Place center
    double unit
    bint is_box
    double radius
    double width
    double height

cdef enum:
    CELLS_MAX = 9

cdef bint place_valid(Place place) noexcept nogil
cdef uint64_t place_score(Place place) noexcept nogil
cdef Place score_place(double score) noexcept nogil
cdef double places_distance(Place here, Place there) noexcept nogil  # in meters
# The first 11 characters of the place's geohash as everybody else writes it; `out` has room for them.
cdef void place_text(Place place, char *out) noexcept nogil
# Whether a place lies within; how far from the center, in meters.
cdef bint shape_holds(const Shape *shape, Place place, double *distance) noexcept nogil
# The cells that cover a shape, in the order in which Redis goes through them; how many.
cdef int shape_cells(const Shape *shape, Cell *cells) noexcept nogil
# The scores of the places in a cell: low to high, without high.
cdef void cell_scores(Cell cell, double *low, double *high) noexcept nogil
