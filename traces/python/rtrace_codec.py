"""Codes of the .rtrace format (traces/FORMAT.md): mass scale, zigzag, rankings as differences; for whole arrays."""

import numpy as np

MAGIC = b"\x89RTRACE\n"
VERSION = 1
CHUNK_MAGIC = 0x4B4E4843
END_MAGIC = 0x53444E45
SCHEMA = "retrosim.rtrace/1"
MASS_SCALE = "log2-16-4-2-1"
OLDER_MASS_SCALE = "log2-16-4-2"  # of traces written before: read, not written


def mass_table(scale=MASS_SCALE):
    """Mass of each of the 256 codes (float32); see traces/mass_scale.h."""
    x = 255.0 - np.arange(256)
    coarse = np.where(x < 114, 9 + (x - 108) / 2, 12 + (x - 114)) if scale == MASS_SCALE else 9 + (x - 108) / 2
    octaves = np.where(x < 96, x / 16, np.where(x < 108, 6 + (x - 96) / 4, coarse))
    mean_of_octave = np.float32(1.0201394)  # (2^(1/2) - 2^(-1/2)) / ln 2
    mass = np.exp2(-octaves).astype(np.float32)
    if scale == MASS_SCALE:
        mass[x > 114] *= mean_of_octave
    mass[0] = 0
    return mass


def mass_codes(mass):
    """Nearest codes of masses in [0, 1] on MASS_SCALE."""
    mass = np.asarray(mass, dtype=np.float64)
    o = np.maximum(-np.log2(np.where(mass > 0, mass, 1.0)), 0)
    coarse = np.where(o < 12, 108 + 2 * (o - 9), 114 + (o - 12))
    x = np.where(o < 6, 16 * o, np.where(o < 9, 96 + 4 * (o - 6), coarse))
    codes = np.maximum(255 - np.floor(x + 0.5), 0)
    return np.where(mass > 0, codes, 0).astype(np.uint8)


def zigzag(difference):
    d = difference.astype(np.uint8)
    return ((d << 1) ^ np.where(d & 0x80, 0xFF, 0).astype(np.uint8)).astype(np.uint8)


def unzigzag(code):
    return ((code >> 1) ^ np.where(code & 1, 0xFF, 0).astype(np.uint8)).astype(np.uint8)


def num_pages(header, position):
    return position // header["page_size_tokens"] + 1


def listed_pages(header, position):
    pages = num_pages(header, position)
    return min(header["top_m_pages"], pages) if header["top_m_pages"] > 0 else pages


def page_code_bytes(pages):
    return 1 if pages <= 256 else 2 if pages <= 65536 else 3


def indices_to_left(indices):
    """Indices into a list (one row per list) to indices among what the entries before have left: O(n) numpy steps."""
    left = indices.copy()
    for i in range(indices.shape[1] - 1):
        left[:, i + 1 :] -= indices[:, i + 1 :] > indices[:, i : i + 1]
    return left


def left_to_indices(left):
    indices = left.astype(np.int32)
    for i in range(indices.shape[1] - 2, -1, -1):
        indices[:, i + 1 :] += indices[:, i + 1 :] >= indices[:, i : i + 1]
    return indices


def reference_lists(previous, count):
    """R of every row: the previous step's list ([rows, listed]) followed by the pages it did not list, ascending."""
    taken = np.zeros((len(previous), count), bool)
    np.put_along_axis(taken, previous, True, axis=1)
    unlisted = np.nonzero(~taken)[1].reshape(len(previous), -1)
    return np.concatenate([previous, unlisted], axis=1)


class MassPredictor:
    """Last mass code of each page in the chunk, a row per KV head; see traces/rank_codec.h."""

    def __init__(self, rows):
        self.last = np.zeros((rows, 0), np.uint8)
        self.listed = np.zeros((rows, 0), bool)
        self.by_rank = None

    def _grow(self, count):
        more = count - self.last.shape[1]
        if more > 0:
            self.last = np.pad(self.last, ((0, 0), (0, more)))
            self.listed = np.pad(self.listed, ((0, 0), (0, more)))

    def predict(self, pages, count):
        """pages: [rows, listed]; not for the chunk's first step."""
        self._grow(count)
        ranks = np.minimum(np.arange(pages.shape[1]), self.by_rank.shape[1] - 1)
        last = np.take_along_axis(self.last, pages, axis=1)
        return np.where(np.take_along_axis(self.listed, pages, axis=1), last, self.by_rank[:, ranks])

    def update(self, pages, codes, count):
        self._grow(count)
        np.put_along_axis(self.last, pages, codes, axis=1)
        np.put_along_axis(self.listed, pages, True, axis=1)
        self.by_rank = codes


class RankEncoder:
    """Codes the rankings of one chunk, step by step, a row per layer and KV head; see traces/rank_codec.h."""

    def __init__(self, rows):
        self._predictor = MassPredictor(rows)
        self._previous = np.zeros((rows, 0), np.int64)

    def encode(self, pages, codes, count):
        """pages, codes (mass codes): [rows, listed] of `count` pages. Returns page codes, mass codes, shifts [rows]."""
        reference = reference_lists(self._previous, count)
        place = np.empty(reference.shape, np.int16 if count < 32768 else np.int32)
        np.put_along_axis(place, reference, np.arange(count, dtype=place.dtype)[None], axis=1)
        left = indices_to_left(np.take_along_axis(place, pages, axis=1))
        if self._previous.shape[1] == 0:
            predicted = np.pad(codes[:, :-1], ((0, 0), (1, 0)))
            shifts = np.zeros(len(pages), np.uint8)
        else:
            predicted = self._predictor.predict(pages, count)
            mean = np.mean(codes.astype(np.int16) - predicted, axis=1)
            shifts = np.clip(np.floor(np.abs(mean) + 0.5) * np.sign(mean), -127, 127).astype(np.int8).view(np.uint8)
        self._predictor.update(pages, codes, count)
        self._previous = pages
        return left, zigzag(codes - predicted - shifts[:, None]), shifts
