"""The network SwiftF0 in NumPy, for CPUs.

A step of 100 ms has 17 frames and 80 MFLOP, which a core computes in less than a millisecond. An
operation of MLX takes ten microseconds more than its work, one of NumPy less than one, and the
arrays here are the same ones in every step, so that they stay in the caches.

An image is (frames, classes, bands, channels): a class has the bands that are a multiple of the
dilation apart. What a convolution reads has margins of zeros, and bands in the order that the
convolution needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from rtvc._types import Float32, Weights
from rtvc.engine.models.swift_f0_sizes import (
    BANDS,
    DILATIONS,
    FLOOR,
    GRID,
    HEAD_BANDS,
    LAST_BANDS,
    LONGEST,
    PITCHES,
    REACH,
    SILENCE,
    WINDOWS,
    band_filters,
    frame_count,
)
from rtvc.system.blas import single_numpy_thread

_PART = 128
"""Frames of a longer signal that are computed at once."""

_KEPT = 3
"""Lengths of signals whose arrays are kept."""

_UNFOLDED_FRAMES = 6
"""Frames that are unfolded for one product: more do not fit the caches."""

_GROUP, _WIDE_GROUP, _PITCH_GROUP = 4, 8, 5
"""Bands that a product computes: in residual blocks, with few channels, and for the 95 pitches.
More are more zeros in the matrix; fewer are a narrow product, which takes a BLAS longer."""

_FILTER_EDGES = (0, 64, 96, 112, BANDS)
"""Bands at which the filters of the spectra are divided, so that few of their values are zeros."""

_Index = NDArray[np.intp]
_Layer = tuple[Float32, Float32]
"""Weight, (out channels, in channels, bands, frames), and bias."""


class CpuNetwork:
    """SwiftF0 in float32 for one set of weights.

    Parameters
    ----------
    weights
        Tensors from ``read_swift_f0``.
    """

    def __init__(self, weights: Weights) -> None:
        self._layers = _Layers(weights)
        self._spare: dict[int, _Pass] = {}

    def __call__(self, padded: Float32) -> Float32:
        """Return the scores of the pitches and the confidence, (frames, 96).

        Parameters
        ----------
        padded
            (256 (frames - 1) + 2048,) samples; frame k is around sample 1024 + 256 k.
        """
        frames = frame_count(len(padded))
        if frames <= _PART + 2 * REACH:
            return self._scores(padded, frames)
        parts = []
        for first in range(0, frames, _PART):
            begin, end = max(first - REACH, 0), min(first + _PART + REACH, frames)
            part = padded[GRID * begin : GRID * (end - 1) + LONGEST]
            parts.append(self._scores(part, end - begin)[first - begin :][:_PART])
        return np.concatenate(parts)

    def _scores(self, padded: Float32, frames: int) -> Float32:
        # Another thread that computes meanwhile uses other arrays.
        arrays = self._spare.pop(frames, None) or _Pass(self._layers, frames)
        # As in MLX, values that are not finite are no reason for a warning.
        with single_numpy_thread, np.errstate(all="ignore"):
            scores = arrays.scores(padded)
        if len(self._spare) >= _KEPT:
            self._spare.clear()
        self._spare[frames] = arrays
        return scores


class _Layers:
    """The weights as matrices, and the orders of the bands."""

    def __init__(self, weights: Weights) -> None:
        def layer(name: str) -> _Layer:
            return weights[f"{name}.weight"], weights[f"{name}.bias"]

        def block(number: int) -> tuple[_Layer, _Layer]:
            return layer(f"blocks.{number}.0"), layer(f"blocks.{number}.1")

        def grouped(number: int) -> list[_Grouped]:
            return [_Grouped(one, _GROUP) for one in block(number)]

        last = len(DILATIONS) - 1
        self.spectra = [_Spectrum(window) for window in WINDOWS]
        self.mean = np.full(BANDS * len(WINDOWS), 1 / (BANDS * len(WINDOWS)), np.float32)
        self.stem = _Grouped(layer("stem"), _WIDE_GROUP)
        self.first, self.last = grouped(0), grouped(last)
        self.dilated = []
        places, offset = np.arange(BANDS), np.zeros((BANDS, 1), np.float32)
        for number in range(1, last):
            self.dilated.append(_Dilated(block(number), DILATIONS[number], places, offset))
            places, offset = self.dilated[-1].places, self.dilated[-1].offset
        # The last block reads its bands by class; the head reads them in the order of pitch.
        classes = DILATIONS[last]
        self.last_rows = LAST_BANDS[0] // classes, LAST_BANDS[1] // classes
        rows = self.last[0].computed(self.last_rows[0]) + self.last[0].margin
        self.to_last = places[np.add.outer(np.arange(classes), classes * np.arange(rows))]
        self.last_offset = offset[self.to_last]
        self.head = _Grouped(layer("head"), _WIDE_GROUP)
        bands = np.arange(HEAD_BANDS)
        self.to_head = bands % classes * self.last_rows[1] + bands // classes
        self.scores = _Grouped(_joined(layer("voicing.0"), layer("pitch")), _PITCH_GROUP)
        taps, self.hidden_bias = layer("voicing.1")
        self.hidden = taps.transpose(2, 1, 0).reshape(-1, len(taps))
        row, self.confidence_bias = layer("voicing.2")
        self.confidence = row[0, :, 0]


def _joined(voicing: _Layer, pitch: _Layer) -> _Layer:
    """Return the two layers that read the head as one; the channel of the pitch is the last."""
    margin = voicing[0].shape[2] // 2
    centred = np.pad(pitch[0], [(0, 0), (0, 0), (margin, margin), (0, 0)])
    return np.concatenate([voicing[0], centred]), np.concatenate([voicing[1], pitch[1]])


class _Spectrum:
    """A window, and its filters on the scale of pitch in parts: bins, bands, values."""

    def __init__(self, size: int) -> None:
        self.margin = (LONGEST - size) // 2
        phase = 2 * np.pi * np.arange(size) / size
        self.window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
        filters = band_filters(size)
        self.filters = []
        for low, high in pairwise(_FILTER_EDGES):
            used = np.flatnonzero(filters[:, low:high].any(axis=1))
            bins = slice(int(used[0]), int(used[-1]) + 1)
            values = np.ascontiguousarray(filters[bins, low:high])
            self.filters.append((bins, slice(low, high), values))


class _Grouped:
    """A convolution that computes several bands in one product.

    Attributes
    ----------
    matrix
        (inputs + 1, group * out channels): zeros where the kernel does not reach. The last row is
        the bias.
    columns, margin
        Frames of the kernel, and bands that it reads on each side of one.
    group, taken
        Bands that a product computes, and values that it reads of each frame.
    """

    def __init__(self, layer: _Layer, group: int) -> None:
        weight, bias = layer
        out, channels, bands, self.columns = weight.shape
        self.margin, self.group = bands // 2, group
        self.taken = (group + bands - 1) * channels
        shape = self.columns, group + bands - 1, channels, group, out
        matrix = np.zeros(shape, np.float32)
        for band in range(group):
            matrix[:, band : band + bands, :, band] = weight.transpose(3, 2, 1, 0)
        self.matrix = np.vstack([matrix.reshape(-1, group * out), np.tile(bias, group)])

    def computed(self, bands: int) -> int:
        """Return the bands of whole groups."""
        return -(-bands // self.group) * self.group


class _Dilated:
    """A residual block of column kernels with a dilation of which few multiples fit the bands.

    A class has few bands, and the kernel nearly reaches all of them, so one product computes whole
    classes. What is stored of y + bias after the activation is max(y, -bias), in one operation;
    the offset to the true value is part of the bias of what reads it.

    Parameters
    ----------
    layers
        The two convolutions.
    dilation
        Bands between the taps: the number of classes.
    places
        (128,) place of each band in the image that the block reads.
    offset
        (places, channels) of that image; one channel stands for all.

    Attributes
    ----------
    read
        (classes, members) places in that image. Those of bands that do not exist are any.
    absent
        First class that lacks the last member.
    matrices, limits
        Of the two convolutions: (members * channels, members * channels), and -bias,
        (classes, members, channels).
    places, offset
        Of the result.
    """

    def __init__(
        self, layers: tuple[_Layer, _Layer], dilation: int, places: _Index, offset: Float32
    ) -> None:
        members = -(-BANDS // dilation)
        shape = dilation, members, len(layers[0][1])
        bands = np.add.outer(np.arange(dilation), dilation * np.arange(members))
        self.absent = BANDS - dilation * (members - 1)
        self.read = places[np.minimum(bands, BANDS - 1)]
        self.matrices = [_class_matrix(weight, members) for weight, _ in layers]
        offsets = [self._masked(np.broadcast_to(offset[self.read], shape))]
        for matrix, (_, bias) in zip(self.matrices, layers, strict=True):
            product = (offsets[-1].reshape(dilation, -1) @ matrix).reshape(shape)
            offsets.append(self._masked(product + bias))
        self.offset = (offsets[2] + offsets[0]).reshape(-1, shape[2])
        self.limits = [-offsets[1], -self.offset.reshape(shape)]
        band = np.arange(BANDS)
        self.places = band % dilation * members + band // dilation

    def _masked(self, image: Float32) -> Float32:
        """Return a copy with zeros for bands that do not exist."""
        image = image.copy()
        image[self.absent :, -1] = 0.0
        return image


def _class_matrix(weight: Float32, members: int) -> Float32:
    """Return the matrix of all bands of a class, (members * in, members * out channels)."""
    out, channels, bands, _ = weight.shape
    matrix = np.zeros((members, channels, members, out), np.float32)
    for before in range(members):
        for after in range(members):
            tap = before - after + bands // 2
            if 0 <= tap < bands:
                matrix[before, :, after] = weight[:, :, tap, 0].T
    return matrix.reshape(members * channels, members * out)


class _Pass:
    """The arrays of a pass over a number of frames, and the operations on them."""

    def __init__(self, layers: _Layers, frames: int) -> None:
        self._layers, self._frames = layers, frames
        self._operations: list[Callable[[], object]] = []
        self._signal = np.full(GRID * (frames - 1) + LONGEST, np.nan, np.float32)
        self._stretches = as_strided(self._signal, (frames, LONGEST), (GRID * 4, 4))
        self._spectra = np.empty((frames, len(WINDOWS), BANDS), np.float32)
        # Few arrays, used in turn, stay in the caches.
        size = frames * max(block.offset.size for block in layers.dilated)
        self._result, self._read, self._between = np.empty((3, size), np.float32)
        self._unfolded: dict[int, Float32] = {}
        self._outputs = self._prepare()
        # Of each frame the maxima of the voicing over the bands, and the level; with a frame of
        # zeros before and after them.
        channels = self._outputs.shape[-1]
        self._voicing = np.zeros((frames + 2, channels), np.float32)
        taps = len(layers.hidden) // channels
        self._hidden_inputs = as_strided(
            self._voicing, (frames, taps * channels), self._voicing.strides
        )

    def scores(self, padded: Float32) -> Float32:
        """Return what `CpuNetwork` returns."""
        self._update_spectra(padded)
        for operation in self._operations:
            operation()
        layers, frames, outputs, voicing = self._layers, self._frames, self._outputs, self._voicing
        scores = np.empty((frames, PITCHES + 1), np.float32)
        scores[:, :-1] = outputs[..., -1].reshape(frames, -1)
        # First over the groups of bands, in long rows.
        highest = outputs.reshape(frames, PITCHES // _PITCH_GROUP, -1).max(axis=1)
        highest.reshape(frames, _PITCH_GROUP, -1).max(axis=1, out=voicing[1:-1])
        voicing[1:-1, -1] = self._spectra.reshape(frames, -1) @ layers.mean
        hidden = np.maximum(self._hidden_inputs.copy() @ layers.hidden + layers.hidden_bias, 0.0)
        confidence = 1.0 / (1.0 + np.exp(-(hidden @ layers.confidence + layers.confidence_bias)))
        hops = padded[LONGEST // 2 :][: frames * GRID].reshape(frames, GRID)
        np.multiply(confidence, np.abs(hops).max(axis=1) >= SILENCE, out=scores[:, -1])
        return scores

    def _update_spectra(self, padded: Float32) -> None:
        """Compute the log spectra; those that the signal before had too are only moved."""
        moved = self._moved_frames(padded)
        self._signal[:] = padded
        if not moved:
            return
        kept = self._frames - moved
        self._spectra[:kept] = self._spectra[moved:].copy()
        spectra = self._spectra[kept:]
        for n, spectrum in enumerate(self._layers.spectra):
            stretches = self._stretches[kept:, spectrum.margin :]
            part = stretches[:, : len(spectrum.window)] * spectrum.window
            magnitude = np.abs(np.fft.rfft(part, axis=1)).astype(np.float32, copy=False)
            for bins, bands, values in spectrum.filters:
                np.matmul(magnitude[:, bins], values, out=spectra[:, n, bands])
        np.add(spectra, np.float32(FLOOR), out=spectra)
        np.log(spectra, out=spectra)

    def _moved_frames(self, padded: Float32) -> int:
        """Return by how many frames a signal is later than the one before, or all for another."""
        begins = (self._stretches[:, :8] == padded[:8]).all(axis=1)
        for moved in np.flatnonzero(begins).tolist():
            if np.array_equal(self._signal[GRID * moved :], padded[: len(padded) - GRID * moved]):
                return int(moved)
        return self._frames

    def _prepare(self) -> Float32:
        """Append all operations between the spectra and the scores; return their last result.

        Returns
        -------
        Float32
            (frames, bands, channels): voicing, and the score of the pitch.
        """
        layers, frames = self._layers, self._frames
        image = np.zeros((frames + 2, 1, BANDS + 2, len(WINDOWS)), np.float32)
        self._append(np.copyto, image[1:-1, 0, 1:-1], self._spectra.transpose(0, 2, 1))
        y = self._convolve(layers.stem, image, BANDS)
        channels, margin = y.shape[-1], layers.first[0].margin
        image = np.zeros((frames + 2, 1, BANDS + 2 * margin, channels), np.float32)
        self._append(np.maximum, y, 0.0, out=image[1:-1, :, margin:-margin])
        y = self._residual(layers.first, image, (BANDS, BANDS))
        for block in layers.dilated:
            y = self._dilated(block, y)
        classes, rows = layers.to_last.shape
        taken = self._take(y, layers.to_last)
        image = np.zeros((frames + 2, classes, margin + rows, channels), np.float32)
        self._append(np.add, taken, layers.last_offset, out=image[1:-1, :, margin:])
        y = self._residual(layers.last, image, layers.last_rows)
        taken = self._take(y, layers.to_head)
        image = np.zeros((frames + 2, 1, HEAD_BANDS + 2, channels), np.float32)
        self._append(np.copyto, image[1:-1, 0, 1:-1], taken)
        y = self._convolve(layers.head, image, HEAD_BANDS)
        # The last band has no score, as it has no neighbour above.
        margin = layers.scores.margin
        image = np.zeros((frames, 1, PITCHES + 2 * margin, y.shape[-1]), np.float32)
        self._append(np.maximum, y[:, :, :PITCHES], 0.0, out=image[:, :, margin:-margin])
        return self._convolve(layers.scores, image, PITCHES)[:, 0]

    def _append(self, function: Callable[..., object], *inputs: object, **options: object) -> None:
        self._operations.append(partial(function, *inputs, **options))

    def _convolve(self, layer: _Grouped, image: Float32, bands: int) -> Float32:
        """Append a convolution with bias; return its result, (frames, classes, bands, channels).

        Parameters
        ----------
        layer
            The convolution.
        image
            (frames, classes, bands, channels) from the first frame and band that it reads.
        bands
            Bands of the result, which is rounded up to whole groups.
        """
        frames, classes = self._frames, image.shape[1]
        groups = layer.computed(bands) // layer.group
        inputs, outputs = layer.matrix.shape
        products = classes * groups
        at_once = min(frames, _UNFOLDED_FRAMES)
        unfolded = self._unfolded.get(inputs)
        if unfolded is None or len(unfolded) < at_once * products:
            # The last column remains: the product adds the bias by it.
            unfolded = self._unfolded[inputs] = np.ones((at_once * products, inputs), np.float32)
        result = self._result[: frames * products * outputs].reshape(-1, outputs)
        by_frame, by_class, by_band, by_channel = image.strides
        strides = by_frame, by_class, layer.group * by_band, by_frame, by_channel
        for first in range(0, frames, at_once):
            count = min(at_once, frames - first)
            shape = count, classes, groups, layer.columns, layer.taken
            rows = unfolded[: count * products]
            windows = as_strided(image[first:], shape, strides)
            self._append(np.copyto, rows[:, :-1].reshape(shape), windows)
            out = result[first * products :][: count * products]
            self._append(np.matmul, rows, layer.matrix, out=out)
        return result.reshape(frames, classes, groups * layer.group, -1)

    def _residual(self, layers: list[_Grouped], image: Float32, bands: tuple[int, int]) -> Float32:
        """Append a residual block of two convolutions; return its result.

        Parameters
        ----------
        layers
            The convolutions.
        image
            As for `_convolve`.
        bands
            Bands of the result of each convolution.
        """
        first, second = layers
        margin = first.margin
        y = self._convolve(first, image, bands[0])
        frames, classes, computed, channels = y.shape
        shape = frames + 2, classes, computed + 2 * margin, channels
        between = np.zeros(shape, np.float32)
        self._append(np.maximum, y, 0.0, out=between[1:-1, :, margin:-margin])
        y = self._convolve(second, between, bands[1])
        self._append(np.add, y, image[1:-1, :, margin:][:, :, : y.shape[2]], out=y)
        self._append(np.maximum, y, 0.0, out=y)
        return y

    def _dilated(self, block: _Dilated, image: Float32) -> Float32:
        """Append a residual block; return what it stores, (frames, classes, members, channels)."""
        x = self._take(image, block.read)
        between, y = (part[: x.size].reshape(x.shape) for part in (self._between, self._result))
        self._append(x[:, block.absent :, -1].fill, 0.0)
        self._append(np.matmul, _by_class(x), block.matrices[0], out=_by_class(between))
        self._append(np.maximum, between, block.limits[0], out=between)
        self._append(between[:, block.absent :, -1].fill, 0.0)
        self._append(np.matmul, _by_class(between), block.matrices[1], out=_by_class(y))
        self._append(np.add, y, x, out=y)
        self._append(np.maximum, y, block.limits[1], out=y)
        return y

    def _take(self, image: Float32, places: _Index) -> Float32:
        """Append a change of the order of bands; return its result, (frames, *places, channels)."""
        channels = image.shape[-1]
        bands = image.reshape(self._frames, -1, channels)
        out = self._read[: self._frames * places.size * channels]
        out = out.reshape(self._frames, *places.shape, channels)
        # Other modes copy the result once more.
        self._append(np.take, bands, places, axis=1, out=out, mode="clip")
        return out


def _by_class(image: Float32) -> Float32:
    """Return a view of an image with a row for each class of a frame."""
    frames, classes, _, _ = image.shape
    return image.reshape(frames * classes, -1)
