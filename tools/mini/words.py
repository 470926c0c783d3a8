"""The words around the names: languages and their shares, sentence templates, backgrounds, styles, subjects."""
from __future__ import annotations

# language: how many of a glyph's captions (about) are in it
LANGUAGES = dict(en=20, ru=6, de=2, fr=2, es=2, it=2, pt=2, pl=2, uk=2, tr=2, ja=2, zh=2)

TEMPLATES = dict(
    en=["a {}", "a {}", "a photo of a {}", "a photo of {}", "a picture of a {}", "{} emoji", "the {}", "a drawing of a {}", "an {}",
        "an icon of a {}", "a cute {}", "{}, high quality", "{}, 4k", "one {}", "a {} on white", "{} on a white background", "an image of {}",
        "a beautiful {}"],
    ru=["{}", "фото: {}", "рисунок: {}", "{} на белом фоне", "картинка: {}", "эмодзи {}", "изображение: {}", "красивая картинка, {}"],
    de=["{}", "ein Bild: {}", "ein Foto von {}", "{} auf weißem Hintergrund"],
    fr=["{}", "une photo de {}", "une image de {}", "{} sur fond blanc"],
    es=["{}", "una foto de {}", "un dibujo de {}", "{} sobre fondo blanco"],
    it=["{}", "una foto di {}", "un disegno di {}", "{} su sfondo bianco"],
    pt=["{}", "uma foto de {}", "um desenho de {}", "{} em fundo branco"],
    pl=["{}", "zdjęcie: {}", "obrazek: {}", "{} na białym tle"],
    uk=["{}", "фото: {}", "малюнок: {}", "{} на білому тлі"],
    tr=["{}", "{} fotoğrafı", "{} resmi", "beyaz arka planda {}"],
    ja=["{}", "{}の写真", "{}の絵", "白い背景の{}"],
    zh=["{}", "{}的照片", "一张{}的图片", "白色背景的{}"])

ENGLISH_FORMS = dict(smile="smiling", grin="grinning", laugh="laughing", cry="crying", run="running", walk="walking",
                     dance="dancing", sleep="sleeping", kiss="kissing", sing="singing", fly="flying", swim="swimming")

COLOURS = {  # name: RGB, then the words of "on a ... background" in English, Russian, German, French, Spanish
    "red": ((214, 40, 40), "красном", "roten", "rouge", "rojo"), "green": ((52, 160, 72), "зелёном", "grünen", "vert", "verde"),
    "blue": ((40, 98, 214), "синем", "blauen", "bleu", "azul"), "yellow": ((250, 214, 50), "жёлтом", "gelben", "jaune", "amarillo"),
    "orange": ((246, 140, 30), "оранжевом", "orangen", "orange", "naranja"), "purple": ((128, 60, 180), "фиолетовом", "lila", "violet", "morado"),
    "pink": ((250, 150, 190), "розовом", "rosa", "rose", "rosa"), "black": ((14, 14, 16), "чёрном", "schwarzen", "noir", "negro"),
    "brown": ((120, 78, 46), "коричневом", "braunen", "marron", "marrón"), "gray": ((128, 128, 130), "сером", "grauen", "gris", "gris"),
    "turquoise": ((60, 200, 200), "бирюзовом", "türkisen", "turquoise", "turquesa")}

TINTS = {  # an adjective before the name
    "red": ((225, 45, 45), ["красный", "красная", "красное"]), "green": ((60, 170, 80), ["зелёный", "зелёная", "зелёное"]),
    "blue": ((50, 110, 230), ["синий", "синяя", "синее"]), "yellow": ((250, 214, 50), ["жёлтый", "жёлтая", "жёлтое"]),
    "purple": ((140, 70, 200), ["фиолетовый", "фиолетовая", "фиолетовое"]), "pink": ((250, 140, 190), ["розовый", "розовая", "розовое"])}

SCENES = {  # label of photos.json: (English, Russian)
    "forest": (["in a forest", "in the woods", "in the forest"], ["в лесу"]), "sky": (["in the sky", "with clouds", "in a blue sky"], ["в небе"]),
    "sea": (["on a beach", "by the sea", "at the seaside"], ["на пляже", "у моря"]), "sunset": (["at sunset", "in the evening"], ["на закате"]),
    "grass": (["on grass", "on the grass", "in a meadow"], ["на траве"]), "brick": (["on a brick wall", "by a brick wall"], ["на кирпичной стене"]),
    "stones": (["on gravel", "on stones"], ["на камнях"]), "space": (["in space", "among the stars", "at night with stars"], ["в космосе"]),
    "mountains": (["in the mountains", "with mountains"], ["в горах"]), "leaves": (["on autumn leaves", "in autumn"], ["осенью"]),
    "lake": (["on a lake", "by the water"], ["на озере"])}
ANY_PHOTO = (["in a photo", "on a photograph", "in a room", "in the city", "outdoors", "with a detailed background"], ["на фотографии", "на улице", "в комнате"])

STYLES = {
    "oil": (["oil painting", "painting", "an oil painting", "impressionist painting"], ["картина маслом", "живопись"]),
    "watercolor": (["watercolor", "watercolour painting", "a watercolor"], ["акварель"]),
    "sketch": (["pencil sketch", "pencil drawing", "sketch", "line drawing"], ["карандашный рисунок", "набросок"]),
    "cartoon": (["cartoon", "comic", "anime style", "cartoon style", "ukiyo-e"], ["мультфильм", "комикс"]),
    "pixel": (["pixel art", "8-bit", "mosaic"], ["пиксельная графика", "мозаика"]),
    "neon": (["neon", "neon lights", "glowing neon", "cyberpunk"], ["неон", "неоновый свет"]),
    "mono": (["black and white", "monochrome"], ["чёрно-белое"]), "sepia": (["sepia", "old photo", "vintage"], ["сепия", "старое фото"]),
    "psychedelic": (["psychedelic", "psychedelic colors", "acid colors"], ["психоделика"])}
SUBJECTS = (["", "a photo", "a photograph", "portrait", "a portrait of a person", "landscape", "a face", "a person", "a city", "a street", "a man",
             "a woman", "a room", "nature", "people", "a photo of a person", "picture"], ["фото", "портрет", "пейзаж", "человек", "лицо"])
PLACES = {"small": (["small {}", "a small {}", "tiny {}", "a little {}"], ["маленький {}", "маленькая {}"]),
          "left": (["{} on the left", "{} at the left"], ["{} слева"]), "right": (["{} on the right", "{} at the right"], ["{} справа"]),
          "two": (["two {}", "two {}s", "2 {}"], ["два {}", "две {}"]), "three": (["three {}", "three {}s", "3 {}"], ["три {}"])}

COMMON = ["a photo of", "high quality", "masterpiece, best quality", "portrait, oil painting!", "neon city at night, 4k", "in the style of",
          "smiling", "happy", "angry", "sad", "funny", "beautiful", "a red fox in the snow", "an astronaut", "psychedelic landscape"]


def phrases() -> dict[str, dict[str, list[str]]]:
    """Every phrase bank: kind:name to language to texts. Words before a name end with '<', words after it begin with '>'."""
    out: dict[str, dict[str, list[str]]] = {}
    for name, (_, ru, de, fr, es) in COLOURS.items():
        out[f"colour:{name}"] = dict(en=[f"on a {name} background", f"on {name}", f", {name} background", f"on a {name} backdrop"], ru=[f"на {ru} фоне"],
                                     de=[f"auf {de} Hintergrund"], fr=[f"sur fond {fr}"], es=[f"sobre fondo {es}"])
    for name, (en, ru) in SCENES.items():
        out[f"scene:{name}"] = dict(en=en, ru=ru)
    out["scene:any"] = dict(en=ANY_PHOTO[0], ru=ANY_PHOTO[1])
    for name, (en, ru) in STYLES.items():
        out[f"style:{name}"] = dict(en=en, ru=ru)
    out["subjects"] = dict(en=SUBJECTS[0], ru=SUBJECTS[1])
    for name, (_, ru) in TINTS.items():
        out[f"tint:{name}"] = dict(en=[name], ru=ru)
    for name, (en, ru) in PLACES.items():
        for side, index in (("before", 0), ("after", 1)):
            out[f"place:{name}:{side}"] = dict(en=[t.split("{}")[index].strip() for t in en], ru=[t.split("{}")[index].strip() for t in ru])
    return out
