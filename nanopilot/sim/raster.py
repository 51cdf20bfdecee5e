"""The inner loops of the CPU camera: z-buffered triangles, shadows, and one shading pass over all pixels.

In: packed meshes, instances, a ground texture, a sky map and a light. Out: RGB, class, instance and depth,
written in place. Deferred: `draw` leaves only 1/z and a face number a pixel, `resolve` shades each pixel once
(faces, else the ground plane by ray intersection, else the sky). Positions are map axes with the camera at
(0, 0, camera height). Source: Pineda, A Parallel Algorithm for Polygon Rasterization (1988), for the plane
equations; Heckbert & Moreton (1991) for perspective-correct attributes. No transparency, no mirrors.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numba import njit

from nanopilot.messages import SceneClass

Array = np.ndarray
jit = partial(njit, cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "arcp", "nsz", "afn"})

NEAR = 0.15  # m, near plane
GROUND_FAR = 2500.0  # m, where the ground plane meets the painted horizon
HILL_DEPTH = 3000.0  # m, depth given to the painted hills
TILE_TEXELS = 256  # texels along a tile's edge at level 0
TEXEL = 0.0625  # m at level 0: a 15 cm line is 2.4 texels
LEVELS = 6  # 6 cm ... 2 m
LEVEL_START = np.cumsum([0] + [(TILE_TEXELS >> k) ** 2 for k in range(LEVELS)])  # texel offset of each level in a tile's row
TILE_ROW = int(LEVEL_START[LEVELS])  # texels of one tile's whole pyramid
MAX_SAMPLES = 12  # ground samples a pixel, along the ray
SAMPLE_ASPECT = 2.2  # how much longer than wide the ground of one sample may be
BLOCK = 8  # px that share one level of detail
EVEN, ODD, LANE, HALVES = np.uint64(0x00FF00FF), np.uint64(0xFF00FF00), np.uint64(0xFFFF), np.uint64(0x7FFF7FFF7FFF7FFF)
TONE_SCALE = 1024.0
_value = np.arange(2 * int(TONE_SCALE)) / TONE_SCALE
TONE = (255 * np.clip(np.where(_value < 0.7, _value, 1 - 0.09 / np.maximum(_value - 0.4, 0.1)), 0, 1)).astype(
    np.uint8
)  # soft shoulder above 0.7
ROAD, MARKING, SKY = SceneClass.ROAD, SceneClass.MARKING, SceneClass.SKY

# texture numbers of a material, lamp bits of an instance's state
PLAIN, WINDOWS, LEAVES, PLASTER = range(4)
BRAKE, LEFT, RIGHT, RED, YELLOW, GREEN, NIGHT = (1 << k for k in range(7))

# the `light` vector: camera-frame directions, then colours
L_SUN, L_UP, L_FORWARD, L_LEFT, L_SUN_RGB, L_AMBIENT, L_ZENITH, L_HORIZON, L_FOG, L_HEAD, L_WET, L_EXPOSURE, L_DARK = (
    0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30)  # fmt: skip
LIGHT_SIZE = 31


@jit
def headlamp(along: float, side: float) -> float:
    """Light of the own low beam at a point `along` ahead and `side` to the left, 1 close to the car (shape is a guess)."""
    if along < 0.5:
        return 0.0
    s = side / (0.32 * along + 1.3)
    a = along / 16.0
    return 1.0 / ((1.0 + a * a) * (1.0 + s * s * s * s))


@jit
def _fill(p: Array, a: int, b: int, c: int, z: Array, owner: Array, number: int, shadow: bool, g: Array) -> bool:
    """Fill one triangle of screen points p (x, y, 1/z); leaves the plane of (1/z, u/z, v/z) in g. False if nothing was in the image."""
    height, width = z.shape
    if p[b, 1] < p[a, 1]:
        a, b = b, a
    if p[c, 1] < p[b, 1]:
        b, c = c, b
    if p[b, 1] < p[a, 1]:
        a, b = b, a
    x0, y0, x1, y1, x2, y2 = p[a, 0], p[a, 1], p[b, 0], p[b, 1], p[c, 0], p[c, 1]
    top, bottom = max(math.ceil(y0), 0.0), min(math.ceil(y2), float(height))
    if top >= bottom or max(x0, x1, x2) < 0.0 or min(x0, x1, x2) > width - 1.0:
        return False
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if abs(area) < 1e-7:
        return False
    for k in range(3):
        q0, q1, q2 = p[a, 2 + k], p[b, 2 + k], p[c, 2 + k]
        g[k, 0] = ((q1 - q0) * (y2 - y0) - (q2 - q0) * (y1 - y0)) / area
        g[k, 1] = ((q2 - q0) * (x1 - x0) - (q1 - q0) * (x2 - x0)) / area
        g[k, 2] = q0 - g[k, 0] * x0 - g[k, 1] * y0
        if shadow:
            break
    slope_long = (x2 - x0) / (y2 - y0)
    slope_top = (x1 - x0) / (y1 - y0) if y1 > y0 else 0.0
    slope_bottom = (x2 - x1) / (y2 - y1) if y2 > y1 else 0.0
    dz = np.float32(g[0, 0])
    for v in range(int(top), int(bottom)):
        long_x = x0 + (v - y0) * slope_long
        short_x = x0 + (v - y0) * slope_top if v < y1 else x1 + (v - y1) * slope_bottom
        left = int(max(math.ceil(min(long_x, short_x)), 0.0))
        right = int(min(math.ceil(max(long_x, short_x)), float(width)))
        if shadow:
            for u in range(left, right):
                owner[v, u] = min(owner[v, u], number)
        else:
            start = np.float32(g[0, 1] * v + g[0, 2])
            for u in range(left, right):
                depth = start + dz * np.float32(u)
                if depth > z[v, u]:
                    z[v, u] = depth
                    owner[v, u] = number
    return True


@jit
def _clip_project(q: Array, clipped: Array, p: Array, lens: Array) -> int:
    """Clip camera-frame triangle q (x, y, z, tu, tv) at the near plane and project it into p; gives the number of corners."""
    n = 0
    for i in range(3):
        j = (i + 1) % 3
        inside, next_inside = q[i, 2] >= NEAR, q[j, 2] >= NEAR
        if inside:
            for k in range(5):
                clipped[n, k] = q[i, k]
            n += 1
        if inside != next_inside:
            w = (NEAR - q[i, 2]) / (q[j, 2] - q[i, 2])
            for k in range(5):
                clipped[n, k] = q[i, k] + w * (q[j, k] - q[i, k])
            n += 1
    for i in range(n):
        iz = 1.0 / clipped[i, 2]
        p[i, 0] = clipped[i, 0] * iz * lens[0] + lens[2]
        p[i, 1] = clipped[i, 1] * iz * lens[1] + lens[3]
        p[i, 2] = iz
        p[i, 3] = clipped[i, 3] * iz
        p[i, 4] = clipped[i, 4] * iz
    return n


@jit
def draw(vertices: Array, triangles: Array, spans: Array, instances: Array, keys: Array, palette: Array, view: Array, lens: Array,
         camera_height: float, light: Array, z: Array, owner: Array, face: Array, face_key: Array) -> int:  # fmt: skip
    """Rasterise instances, nearest first, into z (1/m) and owner (face number); gives the number of faces written.

    vertices (V, 3) unit-box meshes, triangles (T, 4) vertex indices and material, spans (M, 4) vertex and triangle
    ranges, instances (n, 13) x y cos sin size(3) primary(3) secondary(3), keys (n, 4) mesh state class id,
    view (3, 3) camera from map, face (F, 9) RGB and the planes of u/z and v/z, face_key (F, 4) class id texture hash.
    """
    count = 0
    points = np.empty((2048, 6))  # camera x y z, local x y z of one mesh's vertices
    q, clipped, p, g = np.empty((3, 5)), np.empty((4, 5)), np.empty((4, 5)), np.empty((3, 3))
    for n in range(len(instances)):
        mesh, state = keys[n, 0], keys[n, 1]
        ox, oy, c, s = instances[n, 0], instances[n, 1], instances[n, 2], instances[n, 3]
        v0 = spans[mesh, 0]
        for i in range(v0, spans[mesh, 1]):
            lx, ly, lz = vertices[i, 0] * instances[n, 4], vertices[i, 1] * instances[n, 5], vertices[i, 2] * instances[n, 6]
            wx, wy, wz = ox + c * lx - s * ly, oy + s * lx + c * ly, lz - camera_height
            k = i - v0
            for axis in range(3):
                points[k, axis] = view[axis, 0] * wx + view[axis, 1] * wy + view[axis, 2] * wz
            points[k, 3], points[k, 4], points[k, 5] = lx, ly, lz
        for t in range(spans[mesh, 2], spans[mesh, 3]):
            i0, i1, i2, material = triangles[t, 0], triangles[t, 1], triangles[t, 2], triangles[t, 3]
            ax, ay, az = points[i0, 0], points[i0, 1], points[i0, 2]
            bx, by, bz = points[i1, 0] - ax, points[i1, 1] - ay, points[i1, 2] - az
            cx, cy, cz = points[i2, 0] - ax, points[i2, 1] - ay, points[i2, 2] - az
            nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
            facing = -(nx * ax + ny * ay + nz * az)
            if facing <= 0.0 or (az < NEAR and az + bz < NEAR and az + cz < NEAR) or count + 2 > len(face):
                continue
            texture = int(palette[material, 4])
            for k in range(3):
                i = triangles[t, k]
                q[k, 0], q[k, 1], q[k, 2] = points[i, 0], points[i, 1], points[i, 2]
                q[k, 3], q[k, 4] = 0.0, 0.0
            if texture != PLAIN:  # box mapping: the wall's own horizontal axis, and height
                ex = vertices[v0 + i1, 0] - vertices[v0 + i0, 0], vertices[v0 + i2, 0] - vertices[v0 + i0, 0]
                ey = vertices[v0 + i1, 1] - vertices[v0 + i0, 1], vertices[v0 + i2, 1] - vertices[v0 + i0, 1]
                horizontal = 4 if abs(ex[0]) + abs(ex[1]) < abs(ey[0]) + abs(ey[1]) else 3
                for k in range(3):
                    i = triangles[t, k]
                    q[k, 3], q[k, 4] = points[i, horizontal], points[i, 5]
            corners = _clip_project(q, clipped, p, lens)
            drawn = False
            for k in range(corners - 2):
                if _fill(p, 0, k + 1, k + 2, z, owner, count, False, g):
                    drawn = True
            if not drawn:
                continue
            # colour of the face: Lambert sun, hemisphere ambient, own headlamps, sky reflected in glossy paint and glass
            scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
            nx, ny, nz = nx * scale, ny * scale, nz * scale
            distance = math.sqrt(ax * ax + ay * ay + az * az)
            cosine = facing * scale / distance
            up = nx * light[L_UP] + ny * light[L_UP + 1] + nz * light[L_UP + 2]
            lit = max(nx * light[L_SUN] + ny * light[L_SUN + 1] + nz * light[L_SUN + 2], 0.0)
            head = 0.0
            if light[L_HEAD] > 0.0:
                mx, my, mz = ax + (bx + cx) / 3, ay + (by + cy) / 3, az + (bz + cz) / 3
                along = mx * light[L_FORWARD] + my * light[L_FORWARD + 1] + mz * light[L_FORWARD + 2]
                side = mx * light[L_LEFT] + my * light[L_LEFT + 1] + mz * light[L_LEFT + 2]
                head = light[L_HEAD] * headlamp(along, side) * (0.35 + 0.65 * cosine)
            ray_up = (ax * light[L_UP] + ay * light[L_UP + 1] + az * light[L_UP + 2]) / distance
            mirror = ray_up + 2.0 * cosine * up
            gloss = palette[material, 3] * (0.25 + 0.75 * (1.0 - cosine) ** 3)
            mask, tint = int(palette[material, 5]), int(palette[material, 6])
            glow = 1.0 if mask & state else (0.5 if mask & BRAKE and state & NIGHT else 0.0)
            dim = 0.3 if mask and glow == 0.0 and not mask & (BRAKE | NIGHT) else 1.0  # the glass of an unlit signal is dark
            for k in range(3):
                albedo = palette[material, k] * dim if tint < 0 else instances[n, 7 + 3 * tint + k]
                value = albedo * (light[L_AMBIENT + k] * (0.78 + 0.22 * up) + light[L_SUN_RGB + k] * lit + head)
                if gloss > 0.0:
                    w = max(min(mirror, 1.0), 0.0)
                    sky = light[L_HORIZON + k] + (light[L_ZENITH + k] - light[L_HORIZON + k]) * math.sqrt(w)
                    if mirror < 0.0:
                        sky = 0.25 * light[L_AMBIENT + k]
                    value += gloss * (sky - value)
                face[count, k] = max(value, palette[material, k] * glow * 1.5)
            face_key[count, 0], face_key[count, 1] = keys[n, 2], keys[n, 3]
            face_key[count, 2], face_key[count, 3] = texture, int(abs(instances[n, 4]) * 977 + abs(instances[n, 6]) * 331)
            for k in range(3):
                face[count, 3 + k], face[count, 6 + k] = g[1, k], g[2, k]
            count += 1
    return count


@jit
def cast(vertices: Array, triangles: Array, spans: Array, instances: Array, meshes: Array, slope: Array, value: int,
         view: Array, lens: Array, camera_height: float, z: Array, shade: Array) -> None:  # fmt: skip
    """Darken shade (H, W) uint8 to at most `value` where the instances' meshes fall on the ground along `slope` (m a metre of height)."""
    q, clipped, p, g = np.zeros((3, 5)), np.empty((4, 5)), np.empty((4, 5)), np.empty((3, 3))
    for n in range(len(instances)):
        mesh = meshes[n]
        ox, oy, c, s = instances[n, 0], instances[n, 1], instances[n, 2], instances[n, 3]
        for t in range(spans[mesh, 2], spans[mesh, 3]):
            for k in range(3):
                i = spans[mesh, 0] + triangles[t, k]
                lx, ly, lz = vertices[i, 0] * instances[n, 4], vertices[i, 1] * instances[n, 5], vertices[i, 2] * instances[n, 6]
                wx, wy = ox + c * lx - s * ly + slope[0] * lz, oy + s * lx + c * ly + slope[1] * lz
                for axis in range(3):
                    q[k, axis] = view[axis, 0] * wx + view[axis, 1] * wy - view[axis, 2] * camera_height
            corners = _clip_project(q, clipped, p, lens)
            for k in range(corners - 2):
                _fill(p, 0, k + 1, k + 2, z, shade, value, True, g)


@jit
def _smooth(texture: Array, x: float, y: float) -> float:
    """Bilinear sample of a tileable (2^k, 2^k) uint8 noise, to -1..1."""
    mask = len(texture) - 1
    fx, fy = math.floor(x), math.floor(y)
    wx, wy = np.float32(x - fx), np.float32(y - fy)
    i, j, i2, j2 = np.uint32(int(fx) & mask), np.uint32(int(fy) & mask), np.uint32(int(fx + 1) & mask), np.uint32(int(fy + 1) & mask)
    top = texture[j, i] + wx * (np.float32(texture[j, i2]) - np.float32(texture[j, i]))
    bottom = texture[j2, i] + wx * (np.float32(texture[j2, i2]) - np.float32(texture[j2, i]))
    return (top + wy * (bottom - top)) * np.float32(1 / 127.5) - np.float32(1.0)


@jit
def _lanes(texel: int) -> int:
    """A packed RGB+class texel with room to add or weigh: 16-bit lanes in the order R, B, G, class."""
    t = np.uint64(texel)
    return (t & EVEN) | ((t & ODD) << np.uint64(24))


@jit
def _bilinear(texels: Array, base: int, stride: int, x: float, y: float) -> int:
    """Lanes, times 256, of a row-major picture inside flat `texels`; x and y must leave room for the next texel."""
    a, b = int(x), int(y)
    wx, wy = int((x - a) * 16.0), int((y - b) * 16.0)
    at = np.uint64(base + b * stride + a)
    below = at + np.uint64(stride)
    one = np.uint64(1)
    return (_lanes(texels[at]) * np.uint64((16 - wx) * (16 - wy)) + _lanes(texels[at + one]) * np.uint64(wx * (16 - wy))
            + _lanes(texels[below]) * np.uint64((16 - wx) * wy) + _lanes(texels[below + one]) * np.uint64(wx * wy))  # fmt: skip


@jit
def _split(lanes: int, scale: float) -> tuple[float, float, float]:
    """Red, green, blue of lanes, scaled."""
    return (np.float64(np.int64(lanes & LANE)) * scale, np.float64(np.int64((lanes >> np.uint64(32)) & LANE)) * scale,
            np.float64(np.int64((lanes >> np.uint64(16)) & LANE)) * scale)  # fmt: skip


@jit
def _sky_at(size: int, dx: float, dy: float, dz: float) -> tuple[float, float]:
    """Where a direction with dz >= 0 lies in the paraboloid sky map of edge `size`."""
    half = size // 2
    w = (half - 2) / (math.sqrt(dx * dx + dy * dy + dz * dz) + dz)
    return half + dx * w, half + dy * w


@jit
def _sky(sky: Array, size: int, x: float, y: float) -> tuple[float, float, float, int]:
    """Red, green, blue and class of the flat sky map at (x, y)."""
    r, g, b = _split(_bilinear(sky, 0, size, x, y), 1.0 / (255.0 * 256.0))
    return r, g, b, np.int64(sky[np.uint64(int(y + 0.5) * size + int(x + 0.5))] >> np.uint32(24))


@jit
def _windows(r: float, g: float, b: float, tu: float, tv: float, d: float, seed: int, focal: float, detail: Array, light: Array
             ) -> tuple[float, float, float]:  # fmt: skip
    """A wall's colour with panes at 3 m a storey, edges softened over a pixel and a half; some are lit at night."""
    pitch_u, pitch_v = 2.2 + 0.15 * (seed % 11), 3.0
    cu, cv = math.floor(tu / pitch_u), math.floor(tv / pitch_v)
    pu, pv = abs(tu / pitch_u - cu - 0.5) * pitch_u, abs(tv / pitch_v - cv - 0.52) * pitch_v
    soft = d / focal * 1.5 + 0.02
    inside = min(max((0.3 * pitch_u - pu) / soft + 0.5, 0.0), 1.0) * min(max((0.85 - pv) / soft + 0.5, 0.0), 1.0)
    dice = detail[(int(cv) * 37 + seed) & 255, (int(cu) * 91 + seed * 7) & 255]
    on = light[L_DARK] if dice > 160 else 0.0
    tone = 0.25 + 0.0012 * dice
    r += inside * (0.1 * light[L_AMBIENT] + tone * light[L_HORIZON] + 0.85 * on - r)
    g += inside * (0.1 * light[L_AMBIENT + 1] + tone * light[L_HORIZON + 1] + 0.63 * on - g)
    b += inside * (0.1 * light[L_AMBIENT + 2] + tone * light[L_HORIZON + 2] + 0.41 * on - b)
    return r, g, b


@jit
def _tone(value: float) -> int:
    """The display byte of a scaled value, whatever it is."""
    return TONE[np.uint32(min(max(int(value), 0), len(TONE) - 1))]


@jit
def resolve(z: Array, owner: Array, shade: Array, face: Array, face_key: Array, pool: Array, table: Array, origin: Array, detail: Array,
            patches: Array, roughness: Array, sky: Array, rays: Array, camera_height: float, focal: float, heading: Array, drift: Array,
            light: Array, fog: Array, rgb: Array, semantic: Array, instance: Array, depth: Array) -> None:  # fmt: skip
    """Shade every pixel once. rays (3, 3) takes (u, v, 1) to map axes; heading (2,) is the car's; drift (2,) is the own
    travel in one exposure, m.

    pool (n * texels,) uint32 packed tile pyramids, table (ny, nx) tile number, origin (2,) of the table relative to the
    camera, sky (N * N,) uint32; roughness (classes,) amplitude of the ground's grain; fog (k,) transmittance a metre of
    depth. semantic, instance and depth may be empty: then no labels are written.
    """
    height, width = z.shape
    labels = semantic.size > 0
    sky_size = int(math.sqrt(len(sky)))
    sun_up = light[L_SUN] * light[L_UP] + light[L_SUN + 1] * light[L_UP + 1] + light[L_SUN + 2] * light[L_UP + 2]
    blur = math.sqrt(drift[0] * drift[0] + drift[1] * drift[1])
    exposure, beam, wet = light[L_EXPOSURE], light[L_HEAD], light[L_WET]
    limit_x, limit_y = table.shape[1] * TILE_TEXELS, table.shape[0] * TILE_TEXELS
    nearest_rz = -camera_height / GROUND_FAR
    samples, level, scale, side, base = 1, 0, 1.0, TILE_TEXELS, 0
    sx, sy, fine_fade, patch_fade, slant, footprint = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    sky_x, sky_y, step_x, step_y = 0.0, 0.0, 0.0, 0.0
    to_tone = exposure * TONE_SCALE
    for v in range(height):
        for u in range(width):
            rz = rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]
            rx = rays[0, 0] * u + rays[0, 1] * v + rays[0, 2]
            ry = rays[1, 0] * u + rays[1, 1] * v + rays[1, 2]
            if u % BLOCK == 0:  # level of detail, once a block
                d = -camera_height / min(rz, nearest_rz)
                flat = d * math.sqrt(rx * rx + ry * ry) + 1e-9
                slant = math.sqrt(flat * flat + camera_height * camera_height)
                across = slant / focal
                along = slant * across / camera_height  # m of ground a pixel covers, along the ray
                sx, sy = rx * d / flat * along + drift[0], ry * d / flat * along + drift[1]
                samples = min(max(int((along + blur) / (SAMPLE_ASPECT * across)), 1), MAX_SAMPLES)
                footprint = max(across, 0.5 * (along + blur) / samples)
                level, scale = 0, 1.0
                while level < LEVELS - 1 and footprint * scale > 1.5 * TEXEL:
                    level, scale = level + 1, 0.5 * scale
                side, base = TILE_TEXELS >> level, LEVEL_START[level]
                fine_fade, patch_fade = min(1.0, 0.05 / footprint), min(1.0, 1.0 / footprint)
                sx, sy = sx / (samples * TEXEL), sy / (samples * TEXEL)
                end_z = rz + rays[2, 0] * BLOCK
                if max(rz, end_z) >= nearest_rz:  # the sky map is nearly straight over a block
                    sky_x, sky_y = _sky_at(sky_size, rx, ry, max(rz, 0.0))
                    end_x, end_y = _sky_at(sky_size, rx + rays[0, 0] * BLOCK, ry + rays[1, 0] * BLOCK, max(end_z, 0.0))
                    step_x, step_y = (end_x - sky_x) / BLOCK, (end_y - sky_y) / BLOCK
            iz = z[v, u]
            what, who, d = 0, -1, -1.0
            if iz > 0.0:
                d = min(1.0 / iz, HILL_DEPTH)
                number = np.uint32(owner[v, u])
                what, who = np.int64(face_key[number, 0]), np.int64(face_key[number, 1])
                r, g, b = np.float64(face[number, 0]), np.float64(face[number, 1]), np.float64(face[number, 2])
                texture = face_key[number, 2]
                if texture != PLAIN:
                    tu = (face[number, 3] * u + face[number, 4] * v + face[number, 5]) * d
                    tv = (face[number, 6] * u + face[number, 7] * v + face[number, 8]) * d
                    seed = face_key[number, 3]
                    if texture == LEAVES:
                        f = 1.0 + 0.55 * _smooth(detail, tu * 6.0, tv * 6.0 + seed) * min(1.0, 40.0 * iz)
                    else:
                        f = 1.0 + 0.10 * _smooth(patches, tu * 6.0 + seed, tv * 6.0)
                    r, g, b = r * f, g * f, b * f
                    if texture == WINDOWS:
                        r, g, b = _windows(r, g, b, tu, tv, d, seed, focal, detail, light)
            elif rz < nearest_rz:
                d = -camera_height / rz
                x, y = d * rx, d * ry
                mx, my = x - origin[0], y - origin[1]
                first = 0.5 * (1 - samples)
                tx, ty = mx * (1 / TEXEL) + sx * first, my * (1 / TEXEL) + sy * first
                lanes, painted, kind = np.uint64(0), 0, 0
                for n in range(samples):
                    tile, qx, qy = 0, 0.0, 0.0
                    if 0.0 <= tx < limit_x and 0.0 <= ty < limit_y:
                        i, j = int(tx) // TILE_TEXELS, int(ty) // TILE_TEXELS
                        tile = table[np.uint32(j), np.uint32(i)]
                        qx, qy = (tx - i * TILE_TEXELS) * scale, (ty - j * TILE_TEXELS) * scale
                    start = tile * TILE_ROW + base
                    texel = pool[np.uint64(start + int(qy) * side + int(qx))]
                    here = np.int64(texel >> np.uint32(24))
                    painted += here == MARKING
                    if 2 * n <= samples:
                        kind = here
                    if samples > 2:
                        lanes += _lanes(texel)
                    else:
                        last = side - 1.001
                        blend = _bilinear(pool, start, side, min(max(qx - 0.5, 0.0), last), min(max(qy - 0.5, 0.0), last))
                        lanes += blend if samples == 1 else (blend >> np.uint64(1)) & HALVES
                    tx, ty = tx + sx, ty + sy
                what = MARKING if painted > 0 and 3 * painted >= samples else kind
                fine = detail[np.uint32(int(my * 40.0) & 511), np.uint32(int(mx * 40.0) & 511)] * (1 / 127.5) - 1.0
                patch = _smooth(patches, mx * 4.0, my * 4.0)
                grain = 1.0 + roughness[what] * (fine * fine_fade + 1.8 * patch * patch_fade)
                grain *= 1.0 / (255.0 * samples) if samples > 2 else 1.0 / (255.0 * 256.0)
                r, g, b = _split(lanes, grain)
                sunny = shade[v, u] * (1.0 / 255.0)
                head = beam * headlamp(x * heading[0] + y * heading[1], y * heading[0] - x * heading[1]) if beam > 0.0 else 0.0
                ambient, direct = 0.35 + 0.65 * sunny, sun_up * sunny
                r *= light[L_AMBIENT] * ambient + light[L_SUN_RGB] * direct + head
                g *= light[L_AMBIENT + 1] * ambient + light[L_SUN_RGB + 1] * direct + head
                b *= light[L_AMBIENT + 2] * ambient + light[L_SUN_RGB + 2] * direct + head * 0.9
                if wet > 0.0 and what in (ROAD, MARKING):
                    grazing = 1.0 - camera_height / slant
                    mirror = wet * grazing * grazing * grazing * (0.7 + 0.3 * patch)
                    at_x, at_y = _sky_at(sky_size, rx, ry, -rz)
                    sky_r, sky_g, sky_b, _ = _sky(sky, sky_size, at_x, at_y)
                    r, g, b = r + mirror * (sky_r * sunny - r), g + mirror * (sky_g * sunny - g), b + mirror * (sky_b * sunny - b)
            else:
                r, g, b, what = _sky(sky, sky_size, sky_x + step_x * (u % BLOCK), sky_y + step_y * (u % BLOCK))
            if d >= 0.0:
                clear = fog[np.uint32(min(int(d), len(fog) - 1))]
                r, g, b = (
                    light[L_FOG] + clear * (r - light[L_FOG]),
                    light[L_FOG + 1] + clear * (g - light[L_FOG + 1]),
                    light[L_FOG + 2] + clear * (b - light[L_FOG + 2]),
                )
            rgb[v, u, 0] = _tone(r * to_tone)
            rgb[v, u, 1] = _tone(g * to_tone)
            rgb[v, u, 2] = _tone(b * to_tone)
            if labels:
                semantic[v, u] = what
                instance[v, u] = who
                depth[v, u] = d if d >= 0.0 else (HILL_DEPTH if what != SKY else np.inf)


@jit
def finish(rgb: Array, gain: Array, noise: Array, starts: Array, sigma: float, streaks: Array, scroll: int) -> None:
    """Lens and sensor, in place on rgb (H, 3 W): gain (H, 3 W) is the vignette; noise (k,) is read from a start per row,
    sigma in grey levels; streaks (H', 3 W') of rain, empty when dry."""
    height, width = rgb.shape
    zero, white = np.float32(0.0), np.float32(255.0)
    for v in range(height):
        at = starts[v]
        for i in range(width):
            value = np.float32(rgb[v, i]) * gain[v, i] + sigma * noise[at + i]
            rgb[v, i] = np.uint8(np.int32(max(min(value, white), zero)))
        if len(streaks) > 0:
            w = (v + scroll) % len(streaks)
            for i in range(width):
                rgb[v, i] = min(255, rgb[v, i] + streaks[w, i % streaks.shape[1]])
