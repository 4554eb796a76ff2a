"""Ranks KV pages by Quest's score and sums the attention mass on each, in PyTorch: record_page_ranker.cpp, vectorised.

Definitions, as in ../record_page_ranker.cpp: a page's summary is the element-wise minimum and maximum of its keys after
RoPE, up to the query's own position; score = sum_i max(q_i * kmin_i, q_i * kmax_i), the largest over the query
group; pages in descending score, ties to the lower id; mass = softmax weights summed over the page, mean over the
group's heads.
"""

import torch

_BLOCK_ELEMENTS = 1 << 24  # attention weights held at once


class PageRanker:
    """The summaries of one layer's complete pages; rank() of queries at the end of the layer's keys."""

    def __init__(self, page_size, top_m=0):
        self._page_size = page_size
        self._top_m = top_m
        self._summaries = None  # [kv_heads, complete pages, 2 * head_dim]: maxima, then minima

    def rank(self, query, keys, scaling, softcap=None):
        """query: [q_heads, T, d] at the last T of N positions; keys: [kv_heads, N, d] without gaps.

        Returns one (pages [kv_heads, listed], mass [kv_heads, listed], rest [kv_heads]) per query, on the CPU.
        """
        kv_heads, length, _ = keys.shape
        query, keys = query.float(), keys.float()
        self._summarise(keys)
        grouped = query.unflatten(0, (kv_heads, -1))  # [kv_heads, group, T, d]
        count = query.shape[1]
        rows = max(1, _BLOCK_ELEMENTS // (query.shape[0] * length))
        steps = []
        for first in range(0, count, rows):
            last = min(first + rows, count)
            end = length - count + last
            steps += self._rank_block(grouped[:, :, first:last], keys[:, :end], scaling, softcap)
        return steps

    def _summarise(self, keys):
        complete = keys.shape[1] // self._page_size
        known = 0 if self._summaries is None else self._summaries.shape[1]
        if complete == known and known > 0:
            return
        new = keys[:, known * self._page_size : complete * self._page_size].unflatten(1, (-1, self._page_size))
        new = torch.cat([new.amax(2), new.amin(2)], dim=-1) if complete > known else keys.new_zeros(
            keys.shape[0], 0, 2 * keys.shape[2])
        self._summaries = new if known == 0 else torch.cat([self._summaries, new], dim=1)

    def _rank_block(self, query, keys, scaling, softcap):
        size = self._page_size
        length, count = keys.shape[1], query.shape[2]
        positions = torch.arange(length - count, length, device=keys.device)
        own = positions // size  # the page that each query stands on
        pages = (length - 1) // size + 1

        best = self._scores(query, keys, positions, own, pages).amax(1)  # [kv_heads, T, pages]
        best.masked_fill_(torch.arange(pages, device=keys.device) > own[:, None], -torch.inf)
        order = best.sort(dim=-1, descending=True, stable=True).indices
        mass = self._mass(query, keys, positions, pages, scaling, softcap).gather(-1, order)
        order, mass = order.cpu().numpy(), mass.cpu().numpy()
        steps = []
        for row, visible in enumerate((own + 1).tolist()):
            listed = min(self._top_m, visible) if self._top_m > 0 else visible
            rest = mass[:, row, listed:visible].sum(-1, dtype="float64").clip(max=1)
            steps.append((order[:, row, :listed], mass[:, row, :listed].clip(max=1), rest))
        return steps

    def _scores(self, query, keys, positions, own, pages):
        size = self._page_size
        # score = q+ * kmax + q- * kmin with q+ = max(q, 0), q- = min(q, 0): one product (method.md, "Page selection").
        halves = torch.cat([query.clamp(min=0), query.clamp(max=0)], dim=-1)
        scores = query.new_full((*query.shape[:3], pages), -torch.inf)
        complete = min(keys.shape[1] // size, self._summaries.shape[1])
        scores[..., :complete] = halves @ self._summaries[:, None, :complete].transpose(-1, -2)
        # A query's own page, unless the query completes it: summarised up to the query alone.
        open_rows = ((positions + 1) % size != 0).nonzero()[:, 0]
        at = positions[open_rows, None]
        slots = torch.minimum(own[open_rows, None] * size + torch.arange(size, device=keys.device), at)
        of_page = keys[:, slots]  # [kv_heads, rows, size, d]; slots after the query repeat the query's own key
        q = query[:, :, open_rows]
        bound = torch.maximum(q * of_page.amax(2)[:, None], q * of_page.amin(2)[:, None]).double().sum(-1).float()
        scores[:, :, open_rows, own[open_rows]] = bound
        return scores

    def _mass(self, query, keys, positions, pages, scaling, softcap):
        logits = query @ keys[:, None].transpose(-1, -2) * scaling
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        logits.masked_fill_(torch.arange(keys.shape[1], device=keys.device) > positions[:, None], -torch.inf)
        weights = torch.softmax(logits, dim=-1)
        weights = torch.nn.functional.pad(weights, (0, pages * self._page_size - keys.shape[1]))
        return weights.unflatten(-1, (pages, self._page_size)).sum(-1).mean(1)  # [kv_heads, T, pages]
