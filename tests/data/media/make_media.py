#!/usr/bin/python3
"""Makes the pictures beside this file, with what Pillow (9.4) reads from them and resizes them to.

Expected pixels are .ppm (colour) and .pgm (alpha), which need no codec. Deterministic.
"""
import os
import random
import struct
import zlib

from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH, HEIGHT = 21, 13


def path(name):
    return os.path.join(HERE, name)


def picture():
    random.seed(7)
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            image.putpixel((x, y), (x * 12 % 256, (y * 19 + x * 3) % 256, random.randrange(256) if x > 12 else 40))
    return image


def smooth(width, height):
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            image.putpixel((x, y), (255 * x // (width - 1), 255 * y // (height - 1), 128 if x < width // 2 else 30))
    return image


def alpha():
    image = Image.new("L", (WIDTH, HEIGHT))
    image.putdata([(i * 5) % 256 for i in range(WIDTH * HEIGHT)])
    return image


def expect(name, image):
    """Colour of `image`, and its alpha when it has one."""
    image.convert("RGB").save(path(name + ".ppm"))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image.convert("RGBA").split()[3].save(path(name + ".pgm"))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(name, width, height, depth, color, rows, before=b"", interlace=0):
    """Writes rows (bytes each, filter 0) as they are: for kinds of PNG that Pillow cannot write."""
    data = b"".join(b"\0" + row for row in rows)
    with open(path(name), "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)))
        out.write(before + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def pngs():
    rgb = picture()
    rgb.save(path("rgb.png"))
    expect("rgb", rgb)
    rgba = rgb.copy()
    rgba.putalpha(alpha())
    rgba.save(path("rgba.png"))
    expect("rgba", rgba)
    grey_alpha = rgb.convert("L")
    grey_alpha.putalpha(alpha())
    grey_alpha.save(path("grey-alpha.png"))
    expect("grey-alpha", grey_alpha)
    for name, image in (("grey", rgb.convert("L")), ("bilevel", rgb.convert("1")), ("palette", rgb.quantize(16))):
        image.save(path(name + ".png"))
        expect(name, Image.open(path(name + ".png")))
    rgb.quantize(16).save(path("palette-transparent.png"), transparency=3)
    expect("palette-transparent", Image.open(path("palette-transparent.png")))
    rgb.save(path("rgb-transparent.png"), transparency=rgb.getpixel((4, 4)))
    expect("rgb-transparent", Image.open(path("rgb-transparent.png")))

    # 16 bits: v * 257 + d rounds back to v for |d| <= 128
    pixels = list(rgb.getdata())
    shift = lambda i, v: min(65535, max(0, v * 257 + (i * 37) % 257 - 128))
    sixteen = [struct.pack(">3H", *(shift(i, v) for v in pixel)) for i, pixel in enumerate(pixels)]
    raw_png("rgb16.png", WIDTH, HEIGHT, 16, 2, [b"".join(sixteen[y * WIDTH:(y + 1) * WIDTH]) for y in range(HEIGHT)],
            before=chunk(b"gAMA", struct.pack(">I", 100000)))
    expect("rgb16", rgb)
    rows = []
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        rows += [b"".join(bytes(pixels[y * WIDTH + x]) for x in range(x0, WIDTH, dx)) for y in range(y0, HEIGHT, dy)]
    raw_png("interlaced.png", WIDTH, HEIGHT, 8, 2, rows, interlace=1)
    expect("interlaced", rgb)


def jpegs():
    image = smooth(40, 24)
    for name, options in (("baseline", {}), ("progressive", {"progressive": True}), ("sub444", {"subsampling": 0})):
        image.save(path(name + ".jpg"), quality=92, **options)
        expect(name, Image.open(path(name + ".jpg")))
    image.convert("L").save(path("jpeg-grey.jpg"), quality=92)
    expect("jpeg-grey", Image.open(path("jpeg-grey.jpg")))
    image.convert("CMYK").save(path("cmyk.jpg"), quality=92)
    expect("cmyk", Image.open(path("cmyk.jpg")))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = "orientation-%d" % orientation
        image.save(path(name + ".jpg"), quality=92, exif=exif)
        expect(name, ImageOps.exif_transpose(Image.open(path(name + ".jpg"))))


def webps():
    image = smooth(40, 24)
    image.save(path("lossy.webp"), quality=90)
    expect("lossy", Image.open(path("lossy.webp")))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path("turned.webp"), lossless=True, exif=exif)
    expect("turned", ImageOps.exif_transpose(Image.open(path("turned.webp"))))
    rgba = picture()
    rgba.putalpha(alpha())
    rgba.save(path("lossless-alpha.webp"), lossless=True, exact=True)
    expect("lossless-alpha", rgba)
    frames = [smooth(40, 24).rotate(90 * i) for i in range(3)]
    frames[0].save(path("animated.webp"), save_all=True, append_images=frames[1:], lossless=True, duration=100)
    expect("animated", frames[0])


def resizes():
    image = picture().resize((57, 41), Image.BICUBIC)
    image.putpixel((20, 20), (255, 255, 255))
    image.save(path("source.ppm"))
    filters = (("nearest", Image.NEAREST), ("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC), ("lanczos", Image.LANCZOS))
    for name, which in filters:
        for width, height in ((16, 11), (57, 20), (90, 64), (8, 80)):
            image.resize((width, height), which).save(path("resize-%s-%dx%d.ppm" % (name, width, height)))
    image.convert("L").save(path("luma.pgm"))


def texts():
    from PIL.PngImagePlugin import PngInfo
    info = PngInfo()
    info.add_text("parameters", "a caf\u00e9\nSteps: 4, Sampler: Euler a, Seed: 1")
    info.add_text("packed", "x" * 3000, zip=True)
    info.add_itxt("wide", "\u7d05\u3044\u308a\u3093\u3054", "ja", "Breite")
    info.add_itxt("wide packed", "\u043a\u0440\u0430\u0441\u043d\u043e\u0435", zip=True)
    picture().crop((0, 0, 2, 2)).save(path("texts.png"), pnginfo=info)


pngs()
jpegs()
webps()
resizes()
texts()
