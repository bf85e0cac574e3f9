"""Video Swin in PyTorch, with the tensors' names and the steps of its authors' code: what ours is compared with.

Written down from the paper and from SwinTransformer/Video-Swin-Transformer (`mmaction/models/backbones` and `heads`),
for inference: without drop path, dropout and checkpointing. `VideoSwin(...).state_dict()` has the names of the
published files, `backbone.layers.0.blocks.0.attn.qkv.weight`, `cls_head.fc_cls.weight` and so on, the buffers included.
"""

import functools
import itertools

import torch
from torch import nn
from torch.nn import functional


class VideoSwin(nn.Module):
    """Logits (B, classes) of normalised clips (B, 3, T, H, W).

    Args:
        embed_dim, depths, num_heads, window, patch, num_classes: as those of `har_tf.models.video_swin`.
    """

    def __init__(
        self,
        embed_dim=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window=(8, 7, 7),
        patch=(2, 4, 4),
        num_classes=400,
    ):
        super().__init__()
        self.backbone = _Backbone(embed_dim, depths, num_heads, window, patch)
        self.cls_head = nn.Module()
        self.cls_head.fc_cls = nn.Linear(embed_dim * 2 ** (len(depths) - 1), num_classes)

    def forward(self, x):
        x = self.backbone(x)
        return self.cls_head.fc_cls(functional.adaptive_avg_pool3d(x, 1).flatten(1))


class _Backbone(nn.Module):
    def __init__(self, embed_dim, depths, num_heads, window, patch):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv3d(3, embed_dim, patch, patch)
        self.patch_embed.norm = nn.LayerNorm(embed_dim)
        last = len(depths) - 1
        self.layers = nn.ModuleList(
            _Stage(embed_dim * 2**i, depth, heads, window, merges=i < last)
            for i, (depth, heads) in enumerate(zip(depths, num_heads, strict=True))
        )
        self.norm = nn.LayerNorm(embed_dim * 2**last)

    def forward(self, x):
        x = self.patch_embed.proj(_padded(x, self.patch_embed.proj.stride, first=2))  # (B, C, T', H', W')
        shape = x.shape
        x = self.patch_embed.norm(x.flatten(2).transpose(1, 2)).transpose(1, 2).view(shape)
        for layer in self.layers:
            x = layer(x.contiguous())
        return self.norm(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


class _Stage(nn.Module):
    """Blocks, and the merging of patches behind them: (B, C, T, H, W) to (B, 2 C, T, H / 2, W / 2)."""

    def __init__(self, channels, depth, heads, window, merges):
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels, heads, window, shifted=i % 2 == 1) for i in range(depth))
        self.downsample = _Merging(channels) if merges else None
        self.window = window

    def forward(self, x):
        x = x.permute(0, 2, 3, 4, 1)
        # One for all blocks.
        mask = _mask(tuple(x.shape[1:4]), *_window_and_shift(x.shape[1:4], self.window), x.device)
        for block in self.blocks:
            x = block(x, mask)
        return (x if self.downsample is None else self.downsample(x)).permute(0, 4, 1, 2, 3)


class _Merging(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x):
        x = _padded(x, (1, 2, 2), first=1)
        x = torch.cat([x[:, :, h::2, w::2] for w, h in itertools.product((0, 1), (0, 1))], -1)
        return self.reduction(self.norm(x))


class _Block(nn.Module):
    def __init__(self, channels, heads, window, shifted):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = _Attention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Module()
        self.mlp.fc1 = nn.Linear(channels, 4 * channels)
        self.mlp.fc2 = nn.Linear(4 * channels, channels)
        self.window, self.shifted = window, shifted

    def forward(self, x, mask):
        _, time, height, width, channels = x.shape
        (t, h, w), shift = _window_and_shift((time, height, width), self.window)
        moves = self.shifted and any(shift)
        y = _padded(self.norm1(x), (t, h, w), first=1)
        _, padded_time, padded_height, padded_width, _ = y.shape
        if moves:
            y = torch.roll(y, [-n for n in shift], (1, 2, 3))
        y = y.view(-1, padded_time // t, t, padded_height // h, h, padded_width // w, w, channels)
        y = y.permute(0, 1, 3, 5, 2, 4, 6, 7).contiguous().view(-1, t * h * w, channels)
        y = self.attn(y, mask if moves else None)
        y = y.view(-1, padded_time // t, padded_height // h, padded_width // w, t, h, w, channels)
        y = y.permute(0, 1, 4, 2, 5, 3, 6, 7).contiguous().view(-1, padded_time, padded_height, padded_width, channels)
        if moves:
            y = torch.roll(y, shift, (1, 2, 3))
        x = x + y[:, :time, :height, :width]
        return x + self.mlp.fc2(functional.gelu(self.mlp.fc1(self.norm2(x))))


class _Attention(nn.Module):
    def __init__(self, channels, heads, window):
        super().__init__()
        self.heads = heads
        sides = [2 * n - 1 for n in window]
        table = torch.zeros(sides[0] * sides[1] * sides[2], heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.normal_(table, std=0.02))
        places = torch.stack(torch.meshgrid(*map(torch.arange, window), indexing="ij")).flatten(1)
        apart = places[:, :, None] - places[:, None, :] + torch.tensor(window)[:, None, None] - 1
        index = (apart[0] * sides[1] + apart[1]) * sides[2] + apart[2]
        self.register_buffer("relative_position_index", index)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x, mask):
        windows, places, channels = x.shape
        qkv = self.qkv(x).reshape(windows, places, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0] * (channels // self.heads) ** -0.5, qkv[1], qkv[2]
        logits = query @ key.transpose(-2, -1)
        index = self.relative_position_index[:places, :places].reshape(-1)
        bias = self.relative_position_bias_table[index].reshape(places, places, -1).permute(2, 0, 1).contiguous()
        logits = logits + bias
        if mask is not None:
            logits = logits.view(-1, len(mask), self.heads, places, places) + mask[:, None]
            logits = logits.view(-1, self.heads, places, places)
        x = (logits.softmax(-1) @ value).transpose(1, 2).reshape(windows, places, channels)
        return self.proj(x)


def _window_and_shift(grid, window):
    fits = [n <= w for n, w in zip(grid, window, strict=True)]
    return (
        tuple(n if fit else w for n, w, fit in zip(grid, window, fits, strict=True)),
        tuple(0 if fit else w // 2 for w, fit in zip(window, fits, strict=True)),
    )


def _padded(x, multiple, first):
    """Zeros at the end of three axes, from axis `first` on."""
    missing = [-x.shape[first + i] % m for i, m in enumerate(multiple)]
    behind = [0, 0] * (x.ndim - first - 3)
    return functional.pad(x, [*behind, *(n for m in reversed(missing) for n in (0, m))]) if any(missing) else x


@functools.lru_cache
def _mask(grid, window, shift, device):
    """0 or -100 for each pair of places of each window of a moved grid, (windows, places, places)."""
    grid = [n + -n % w for n, w in zip(grid, window, strict=True)]
    number = torch.zeros(grid, device=device)
    parts = [(slice(-w), slice(-w, -s), slice(-s, None)) for w, s in zip(window, shift, strict=True)]
    for i, part in enumerate(itertools.product(*parts)):
        number[part] = i
    t, h, w = window
    number = number.view(grid[0] // t, t, grid[1] // h, h, grid[2] // w, w).permute(0, 2, 4, 1, 3, 5)
    number = number.reshape(-1, t * h * w)
    return torch.where(number[:, None] != number[:, :, None], -100.0, 0.0)
