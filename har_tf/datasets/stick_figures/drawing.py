"""Draws the embedded data set: poses of an articulated figure, a scene behind it, and the truth about both."""

import hashlib
import json
from dataclasses import asdict, dataclass
from types import SimpleNamespace

import cv2
import numpy as np

ACTIONS = (
    "walk_forward",
    "walk_backward",
    "pick_up",
    "put_down",
    "throw",
    "catch",
    "wave",
    "clap",
    "squat",
    "jumping_jack",
)
REVERSED_PAIRS = (("walk_forward", "walk_backward"), ("pick_up", "put_down"), ("throw", "catch"))
_REVERSE_OF = {backward: forward for forward, backward in REVERSED_PAIRS}

JOINTS = (
    "head",
    "neck",
    "left_shoulder",
    "left_elbow",
    "left_hand",
    "right_shoulder",
    "right_elbow",
    "right_hand",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_hip",
    "right_knee",
    "right_ankle",
)
_FORMAT = 1  # raise when the same arguments would draw something else
_SHIFT = 4  # OpenCV draws at 1/16 pixel


@dataclass(frozen=True)
class Figures:
    """What is drawn; two equal ones give the same bytes.

    Args:
        clips: number of clips; they fill groups of ten, one of every action.
        size: (height, width) of the videos in pixels, even numbers.
        frames: frames a video. With 19 (or 28, 37, ...) ten uniformly sampled frames are whole steps apart, so that the
            sampled clip of one action of a pair is exactly the reverse of the other's.
        fps: frames a second.
        figure_height: height of a standing figure, as a fraction of the frame's; varies by a tenth.
        clutter: strength of the background's texture and number of things in it, from 0 (plain) to 1.
        shake: how a camera in the hand moves over the scene, as the standard deviation of its place in widths of the
            frame; a slow pan comes on top.
        traffic: large things that pass behind the person, as cars and passers-by do; they say nothing of the action.
        noise: standard deviation of the camera noise, as a fraction of full scale.
        seed: of everything that is drawn at random.
    """

    clips: int = 400
    size: tuple[int, int] = (128, 192)
    frames: int = 19
    fps: int = 10
    figure_height: float = 0.85
    clutter: float = 0.2
    shake: float = 0.006
    traffic: int = 0
    noise: float = 0.02
    seed: int = 0

    def __post_init__(self):
        height, width = self.size
        if height % 2 or width % 2 or not 32 <= min(height, width) <= max(height, width) <= 4096:
            raise ValueError(f"Video sizes are even, and 32 to 4096 pixels. Received: size={self.size}")
        if self.clips < 1 or self.frames < 2:
            raise ValueError(
                f"At least one clip of at least two frames. Received: clips={self.clips}, frames={self.frames}"
            )
        if not 0.2 <= self.figure_height <= 0.9:
            raise ValueError(f"Figures are 0.2 to 0.9 of the frame. Received: figure_height={self.figure_height}")
        if not 0 <= self.traffic <= 20:
            raise ValueError(f"0 to 20 things pass behind the person. Received: traffic={self.traffic}")
        for name in ("clutter", "shake", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} goes from 0 to 1. Received: {name}={getattr(self, name)}")

    @property
    def fingerprint(self) -> str:
        """A short name of these settings."""
        text = json.dumps([_FORMAT, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, eq=False)
class Drawing:
    """One clip with the truth about it: pixel coordinates, boxes (x1, y1, x2, y2) end-exclusive."""

    frames: np.ndarray  # uint8 (T, H, W, 3), RGB
    boxes: np.ndarray  # float32 (T, 4), the person
    joints: np.ndarray  # float32 (T, 14, 2) as x, y, in the order of JOINTS
    object_boxes: np.ndarray | None  # float32 (T, 4); NaN where the object has left the frame; None: no object

    def reversed(self) -> "Drawing":
        """The same clip played backwards."""
        objects = None if self.object_boxes is None else self.object_boxes[::-1]
        return Drawing(self.frames[::-1], self.boxes[::-1], self.joints[::-1], objects)


# Poses. Angles are in radians from straight down, positive towards the way the figure faces; lengths are fractions of
# the standing height; time runs from 0 to 1 over the clip.


@dataclass(frozen=True, eq=False)
class _Motion:
    """Angles (T,) of every limb, and where the body is."""

    frontal: bool
    lean: np.ndarray
    thighs: tuple[np.ndarray, np.ndarray]
    shanks: tuple[np.ndarray, np.ndarray]
    upper_arms: tuple[np.ndarray, np.ndarray]
    forearms: tuple[np.ndarray, np.ndarray]
    advance: np.ndarray  # along the facing direction, 0 in the middle of the path
    lift: np.ndarray  # of the lowest foot above the ground
    grab: float | None = None  # when the hand takes the object from the ground
    release: float | None = None  # when the hand lets the object fly


def _smooth(t, start, stop):
    """0 before `start`, 1 after `stop`, without a jerk between."""
    s = np.clip((t - start) / (stop - start), 0, 1)
    return s * s * (3 - 2 * s)


def _walk(t, rng):
    phase = 2 * np.pi * (rng.uniform(0.9, 1.3) * t + rng.uniform())
    swing, flex = rng.uniform(0.38, 0.52), rng.uniform(0.5, 0.9)
    arm = rng.uniform(0.3, 0.6)
    thighs = tuple(side * swing * np.sin(phase) for side in (1, -1))
    # The leg that swings forward is the bent one.
    shanks = tuple(
        thigh - flex * np.maximum(0, side * np.cos(phase)) for side, thigh in zip((1, -1), thighs, strict=True)
    )
    uppers = tuple(-side * arm * np.sin(phase) for side in (1, -1))
    fores = tuple(upper + 0.35 for upper in uppers)
    stride = 4 * 0.48 * np.sin(swing)  # two steps
    advance = stride * (phase - phase.mean()) / (2 * np.pi)
    lean = np.full_like(t, rng.uniform(0.0, 0.1))
    return _Motion(False, lean, thighs, shanks, uppers, fores, advance, np.zeros_like(t))


def _pick_up(t, rng):
    start, grab, stop = rng.uniform(0.02, 0.15), rng.uniform(0.4, 0.55), rng.uniform(0.82, 0.98)
    bend = _smooth(t, start, grab) - _smooth(t, grab, stop)
    carry = _smooth(t, grab, stop)
    depth = rng.uniform(0.9, 1.1)
    lean = 1.05 * depth * bend + 0.05
    thighs = (1.0 * bend + 0.05, 0.85 * bend - 0.05)
    shanks = (-0.6 * bend + 0.05, -0.75 * bend - 0.05)
    uppers = tuple(0.25 * bend + 0.1 + 0.25 * carry + d for d in (0.0, 0.12))
    fores = tuple(upper + 0.1 + rng.uniform(1.0, 1.4) * carry * (1 - bend) for upper in uppers)
    return _Motion(False, lean, thighs, shanks, uppers, fores, 0 * t, 0 * t, grab=grab)


def _throw(t, rng):
    start, back, release = rng.uniform(0.0, 0.06), rng.uniform(0.2, 0.28), rng.uniform(0.4, 0.5)
    windup = _smooth(t, start, back) * (1 - _smooth(t, back, release + 0.05))
    swing = _smooth(t, back, release + 0.08)
    follow = _smooth(t, release + 0.05, 0.9)
    upper = 0.5 - 1.5 * windup + 1.2 * swing - 0.9 * follow
    fore = upper + 0.9 * (1 - windup) * (1 - swing) + 0.15
    lean = -0.12 * windup + 0.25 * swing * (1 - 0.6 * follow)
    step = rng.uniform(0.15, 0.35)
    thighs = (step * (0.3 + 0.7 * swing), -step * (0.3 + 0.7 * swing))
    shanks = (thighs[0] - 0.12, thighs[1] - 0.12)
    uppers = (upper, 0.15 - 0.4 * swing)
    fores = (fore, uppers[1] + 0.4)
    return _Motion(False, lean, thighs, shanks, uppers, fores, 0 * t, 0 * t, release=release)


def _wave(t, rng):
    phase = 2 * np.pi * (rng.uniform(1.8, 2.8) * t + rng.uniform())
    upper = np.full_like(t, rng.uniform(1.9, 2.5))
    fore = rng.uniform(2.7, 3.0) + rng.uniform(0.45, 0.7) * np.sin(phase)
    rest = np.full_like(t, rng.uniform(0.1, 0.25))
    return _standing(t, uppers=(upper, rest), fores=(fore, rest - 0.05))


def _clap(t, rng):
    phase = 2 * np.pi * (rng.uniform(1.8, 2.8) * t + rng.uniform())
    apart = 0.5 - 0.5 * np.cos(phase)
    upper = rng.uniform(0.25, 0.4) + 0.35 * apart
    fore = -1.95 - rng.uniform(1.0, 1.4) * apart
    return _standing(t, uppers=(upper, upper), fores=(fore, fore))


def _squat(t, rng):
    phase = 2 * np.pi * (rng.uniform(1.0, 1.6) * t + rng.uniform())
    bend = (0.5 - 0.5 * np.cos(phase)) * rng.uniform(0.85, 1.1)
    thigh, shank = 1.35 * bend + 0.03, -0.85 * bend + 0.03
    upper = 0.2 + 1.25 * bend
    return _Motion(
        False, 0.5 * bend, (thigh, thigh - 0.12), (shank, shank - 0.08), (upper, upper + 0.1), (upper, upper + 0.1),
        0 * t, 0 * t,
    )  # fmt: skip


def _jumping_jack(t, rng):
    phase = 2 * np.pi * (rng.uniform(1.4, 2.4) * t + rng.uniform())
    spread = 0.5 - 0.5 * np.cos(phase)
    leg = 0.08 + rng.uniform(0.35, 0.5) * spread
    upper = 0.15 + rng.uniform(2.3, 2.7) * spread
    lift = 0.05 * np.abs(np.sin(phase))
    return _standing(t, legs=leg, uppers=(upper, upper), fores=(upper + 0.1, upper + 0.1), lift=lift)


def _standing(t, uppers, fores, legs=0.08, lift=0.0):
    legs = legs + 0 * t
    return _Motion(True, 0 * t, (legs, legs), (legs, legs), uppers, fores, 0 * t, lift + 0 * t)


_MOTIONS = {
    "walk_forward": _walk,
    "pick_up": _pick_up,
    "throw": _throw,
    "wave": _wave,
    "clap": _clap,
    "squat": _squat,
    "jumping_jack": _jumping_jack,
}


def _colour(rng, background, distance=80):
    """A random RGB colour that stands out from `background`."""
    while True:
        hue, saturation, value = rng.uniform(0, 180), rng.uniform(60, 255), rng.uniform(30, 255)
        pixel = np.uint8([[[hue, saturation, value]]])
        colour = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(float)
        if np.linalg.norm(colour - background) > distance:
            return tuple(colour)


def _person(rng, background) -> SimpleNamespace:
    """Proportions and clothes."""
    tone = rng.uniform(0.45, 1.0)
    return SimpleNamespace(
        head=rng.uniform(0.075, 0.09),
        torso=rng.uniform(0.28, 0.32),
        arm=rng.uniform(0.31, 0.36),
        leg=rng.uniform(0.45, 0.5),
        girth=rng.uniform(0.85, 1.2),
        skin=tuple(tone * np.array([235, 190, 160])),
        hair=tuple(rng.uniform(10, 110, 3)),
        shirt=_colour(rng, background),
        trousers=_colour(rng, background),
        shoes=_colour(rng, background, 60),
    )


def _scene(rng, settings: Figures) -> tuple[np.ndarray, np.ndarray]:
    """A background larger than the frame, uint8 (h, w, 3), and its mean colour."""
    height, width = settings.size
    h, w = int(1.4 * height), int(1.4 * width)
    base = rng.uniform(60, 200) + rng.uniform(-25, 25, 3)
    scene = np.tile(base.astype(np.float32), (h, w, 1))
    for cells in (3, 6, 12, 24):  # value noise
        grid = rng.normal(0, 1, (cells, cells * 3 // 2, 3)).astype(np.float32)
        grid = 0.7 * grid.mean(axis=2, keepdims=True) + 0.3 * grid
        scene += settings.clutter * 28 * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
    for _ in range(round(40 * settings.clutter)):
        colour = tuple(float(c) for c in base + rng.normal(0, 20 + 60 * settings.clutter, 3))
        centre = (int(rng.integers(w)), int(rng.integers(h)))
        axes = (int(rng.uniform(0.02, 0.12) * w), int(rng.uniform(0.02, 0.16) * h))
        kind = rng.integers(3)
        if kind == 0:
            corner = (centre[0] + axes[0], centre[1] + axes[1])
            cv2.rectangle(scene, centre, corner, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.ellipse(scene, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            end = (int(rng.integers(w)), int(rng.integers(h)))
            cv2.line(scene, centre, end, colour, max(1, int(0.02 * h * rng.uniform(0.3, 1))), cv2.LINE_AA)
    floor = int(h * rng.uniform(0.62, 0.72))
    scene[floor:] *= rng.uniform(0.75, 1.2)
    return np.clip(scene, 0, 255).astype(np.uint8), base


def _camera(rng, settings: Figures):
    """Offset (T, 2) in pixels of the camera over the scene: a pan in a random direction and a smooth shake."""
    frames, (height, width) = settings.frames, settings.size
    t = np.linspace(-0.5, 0.5, frames)[:, None]
    pan = rng.uniform(-0.14, 0.14) * width, rng.uniform(-0.04, 0.04) * height
    knots = rng.normal(0, settings.shake * width, (max(frames // 3, 4), 2)).astype(np.float32)
    shake = cv2.resize(knots, (2, frames), interpolation=cv2.INTER_CUBIC)
    return t * np.array(pan) + shake


def _joints(motion: _Motion, person, facing: int) -> np.ndarray:
    """Joint positions (T, 14, 2) in standing heights; x from the path's middle, y upwards from the ground."""

    def step(origin, angle, length, side=facing):
        return origin + length * np.stack([side * np.sin(angle), -np.cos(angle)], axis=-1)

    count = len(motion.lean)
    hip = np.zeros((count, 2))
    neck = step(hip, np.pi - motion.lean, person.torso)
    head = step(neck, np.pi - 0.8 * motion.lean, 0.035 + person.head)
    shoulder_half = 0.095 * person.girth if motion.frontal else 0.02
    hip_half = 0.055 * person.girth if motion.frontal else 0.015
    left, right = [], []
    for i, (limbs, side) in enumerate(((left, 1), (right, -1))):
        outward = side if motion.frontal else facing  # seen from the front, limbs swing to their own side
        sideways = np.array([side * (1 if motion.frontal else facing), 0])
        shoulder = neck + shoulder_half * sideways + [0, -0.02]
        elbow = step(shoulder, motion.upper_arms[i], 0.52 * person.arm, outward)
        hand = step(elbow, motion.forearms[i], 0.48 * person.arm, outward)
        pelvis = hip + hip_half * sideways
        knee = step(pelvis, motion.thighs[i], 0.51 * person.leg, outward)
        ankle = step(knee, motion.shanks[i], 0.49 * person.leg, outward)
        limbs += [shoulder, elbow, hand, pelvis, knee, ankle]
    joints = np.stack([head, neck, *left[:3], *right[:3], *left[3:], *right[3:]], axis=1)
    lowest = np.minimum(left[5][:, 1], right[5][:, 1])
    joints[..., 1] += (0.03 + motion.lift - lowest)[:, None]  # ankles stand a little above the sole
    joints[..., 0] += facing * motion.advance[:, None]
    if motion.frontal and facing < 0:
        joints[..., 0] *= -1  # the other hand waves
    return joints


def _object_path(motion: _Motion, joints, t, radius, facing, rng):
    """Centre (T, 2) of the object in the units of `joints`, or None for an action without one."""
    hand = joints[:, JOINTS.index("left_hand")]
    if motion.grab is not None:
        taken = int(np.searchsorted(t, motion.grab))
        ground = np.array([hand[taken, 0] + 0.02 * facing, radius])
        return np.where((t < t[taken])[:, None], ground, hand + (ground - hand[taken]))
    if motion.release is not None:
        last = max(int(np.searchsorted(t, motion.release)) - 1, 0)
        flight = np.clip(t - t[last], 0, None)[:, None]
        speed = np.array([facing * rng.uniform(1.6, 2.4), rng.uniform(0.5, 0.9)])
        thrown = hand[last] + speed * flight - np.array([0, 1.1]) * flight**2
        return np.where((t <= t[last])[:, None], hand, thrown)
    return None


def draw(action: str, group: int, settings: Figures) -> Drawing:
    """Draws one clip.

    Args:
        action: one of `ACTIONS`.
        group: which person and scene; any whole number from 0.
        settings: what to draw.

    Returns:
        The frames with the true boxes and joints.

    Raises:
        ValueError: unknown action.
    """
    if action not in ACTIONS:
        raise ValueError(f"No such action; there are {', '.join(ACTIONS)}. Received: {action!r}")
    if action in _REVERSE_OF:
        return draw(_REVERSE_OF[action], group, settings).reversed()

    group_rng = np.random.default_rng([settings.seed, group])
    scene, background = _scene(group_rng, settings)
    person = _person(group_rng, background)
    rng = np.random.default_rng([settings.seed, group, 1 + ACTIONS.index(action)])
    height, width = settings.size
    t = np.linspace(0, 1, settings.frames)
    facing = int(rng.choice([-1, 1]))
    motion = _MOTIONS[action](t, rng)
    joints = _joints(motion, person, facing)
    radius = rng.uniform(0.05, 0.07) if motion.release is not None else rng.uniform(0.06, 0.085)
    path = _object_path(motion, joints, t, radius, facing, rng)

    # From standing heights to pixels: keep the figure inside, and a thrower on the side away from the flight.
    scale = height * settings.figure_height * rng.uniform(0.92, 1.05)
    ground = height * rng.uniform(0.9, 0.95)
    reach = scale * (joints[..., 0].max() - joints[..., 0].min()) / 2 + 0.06 * scale
    room = max(width / 2 - reach, 0)
    centre = width / 2 - scale * (joints[..., 0].max() + joints[..., 0].min()) / 2
    if motion.release is not None:
        centre -= facing * room * rng.uniform(0.4, 0.95)
    else:
        centre += room * rng.uniform(-0.6, 0.6)
    camera = _camera(rng, settings)

    def to_pixels(points):
        x = centre + scale * points[..., 0]
        y = ground - scale * points[..., 1]
        offset = camera.reshape(len(camera), *[1] * (points.ndim - 2), 2)
        return np.stack([x, y], axis=-1) - offset

    pixels = to_pixels(joints)
    path = None if path is None else to_pixels(path)
    colour = _colour(rng, background, 110)
    drifting = _drifting(rng, settings, background)
    # A generator of its own, so that the same person does the same in front of a street and of none.
    passing = _passing(np.random.default_rng([settings.seed, group, 1 + ACTIONS.index(action), 1]), settings)
    gain = rng.uniform(0.85, 1.1)
    start = np.array(scene.shape[1::-1]) / 2 + rng.uniform(-0.05, 0.05, 2) * [width, height]

    frames = np.empty((settings.frames, height, width, 3), np.uint8)
    boxes = np.empty((settings.frames, 4), np.float32)
    for i in range(settings.frames):
        canvas = cv2.getRectSubPix(scene, (width, height), tuple(start + camera[i]))
        for position, velocity, size, shade in drifting:
            _disc(canvas, position + velocity * t[i] - camera[i], size, shade)
        for position, velocity, size, shade, square in passing:
            _paint_object(canvas, position + velocity * t[i] - camera[i], size, shade, square)
        boxes[i] = _paint(canvas, pixels[i], person, scale, facing, motion.frontal)
        if path is not None:
            _paint_object(canvas, path[i], radius * scale, colour, square=motion.grab is not None)
        canvas = gain * canvas + rng.normal(0, 255 * settings.noise, canvas.shape[:2])[..., None]
        frames[i] = np.clip(canvas, 0, 255)
    boxes = _clip_boxes(boxes, settings.size)
    objects = None
    if path is not None:
        objects = np.concatenate([path - radius * scale, path + radius * scale], axis=1).astype(np.float32)
        objects = _clip_boxes(objects, settings.size)
    return Drawing(frames, boxes, pixels.astype(np.float32), objects)


def _drifting(rng, settings, background):
    """Things that move through the background: (position, velocity, radius, colour) in pixels, for each."""
    height, width = settings.size
    things = []
    for _ in range(round(4 * settings.clutter)):
        position = rng.uniform(0, 1, 2) * [width, 0.6 * height]
        velocity = rng.uniform(-0.3, 0.3, 2) * [width, 0.3 * height]
        colour = tuple(background + rng.normal(0, 15 + 40 * settings.clutter, 3))
        things.append((position, velocity, rng.uniform(0.02, 0.05) * height, colour))
    return things


def _passing(rng, settings):
    """What passes behind the person: (centre, velocity, half the size, colour, whether it is a box), for each."""
    height, width = settings.size
    things = []
    for _ in range(settings.traffic):
        middle = rng.uniform(0, 1, 2) * [width, 0.9 * height]  # where it is halfway through the clip
        velocity = rng.choice([-1, 1]) * rng.uniform(0.4, 1.2) * width, rng.uniform(-0.1, 0.1) * height
        velocity = np.array(velocity)
        colour = tuple(rng.uniform(0, 255, 3))
        things.append((middle - velocity / 2, velocity, rng.uniform(0.08, 0.2) * height, colour, rng.random() < 0.5))
    return things


def _fixed(point):
    return tuple(round(float(v) * (1 << _SHIFT)) for v in point)


def _disc(canvas, centre, radius, colour):
    cv2.circle(canvas, _fixed(centre), int(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def _limb(canvas, start, stop, thickness, colour):
    cv2.line(canvas, _fixed(start), _fixed(stop), colour, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)


def _paint(canvas, joints, person, scale, facing, frontal):
    """Draws the person and returns the box around what was drawn."""
    at = dict(zip(JOINTS, joints, strict=True))
    arm, leg = 0.065 * person.girth * scale, 0.08 * person.girth * scale
    toe = np.array([0.1 * scale * facing, 0.01 * scale])
    for side in ("right", "left"):  # in profile the right limbs are behind
        shade = 0.72 if side == "right" and not frontal else 1.0
        trousers = tuple(shade * np.array(person.trousers))
        hip, knee, ankle = (at[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        _limb(canvas, hip, knee, leg, trousers)
        _limb(canvas, knee, ankle, 0.85 * leg, trousers)
        foot = toe * (0.4 if frontal else 1)
        _limb(canvas, ankle, ankle + foot, 0.7 * leg, tuple(shade * np.array(person.shoes)))
        if side == "right":
            _paint_arm(canvas, at, "right", arm, person, shade)
            _limb(
                canvas,
                (at["left_hip"] + at["right_hip"]) / 2,
                at["neck"],
                0.16 * person.girth * scale,
                person.shirt,
            )
            if frontal:
                _limb(canvas, at["left_shoulder"], at["right_shoulder"], 1.3 * arm, person.shirt)
    radius = person.head * scale
    head = at["head"]
    _limb(canvas, at["neck"], head, 1.1 * arm, person.skin)
    _disc(canvas, head, radius, person.skin)
    up = head - at["neck"]
    up = up / max(np.linalg.norm(up), 1e-6)
    forward = np.array([-up[1], up[0]]) * (1 if facing > 0 else -1)
    if frontal:
        _disc(canvas, head + 0.45 * radius * up, 0.75 * radius, person.hair)
    else:  # hair behind, the peak of a cap in front: which way the figure faces can be seen
        _disc(canvas, head + 0.3 * radius * up - 0.45 * radius * forward, 0.85 * radius, person.hair)
        brow = head + 0.45 * radius * up
        _limb(canvas, brow, brow + 1.9 * radius * forward, 0.5 * radius, person.hair)
    _paint_arm(canvas, at, "left", arm, person, 1.0)
    reach = np.array([leg, leg]) * 0.5
    points = np.concatenate([joints, [head - radius, head + radius]])
    if not frontal:
        points = np.concatenate([points, joints[[10, 13]] + toe, [head + 0.45 * radius * up + 1.9 * radius * forward]])
    return np.concatenate([points.min(axis=0) - reach, points.max(axis=0) + reach])


def _paint_arm(canvas, at, side, thickness, person, shade):
    shoulder, elbow, hand = (at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "hand"))
    _limb(canvas, shoulder, elbow, 1.15 * thickness, tuple(shade * 0.85 * np.array(person.shirt)))
    _limb(canvas, elbow, hand, thickness, tuple(shade * np.array(person.skin)))
    _disc(canvas, hand, 0.85 * thickness, tuple(shade * np.array(person.skin)))


def _paint_object(canvas, centre, radius, colour, square):
    if square:
        corners = [_fixed(centre - radius), _fixed(centre + radius)]
        cv2.rectangle(canvas, *corners, colour, -1, cv2.LINE_AA, _SHIFT)
        corners = [_fixed(centre - 0.4 * radius), _fixed(centre + 0.4 * radius)]
        cv2.rectangle(canvas, *corners, tuple(0.6 * np.array(colour)), -1, cv2.LINE_AA, _SHIFT)
    else:
        _disc(canvas, centre, radius, colour)


def _clip_boxes(boxes, size):
    """Boxes cut to the frame; NaN where nothing is left."""
    height, width = size
    clipped = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    empty = (clipped[:, 2] <= clipped[:, 0]) | (clipped[:, 3] <= clipped[:, 1])
    clipped[empty] = np.nan
    return clipped
