#!/usr/bin/env python3
"""A1111's API from outside: shapes of answers and of errors, options, lists, limits, /docs and /openapi.json."""
import base64
import json

from sdapi import SMALL, Studio, gradient, info, make_png, pixels, read_infotext, size
from serve import run_tests

FIELDS = {  # of txt2img, with A1111's defaults
    "prompt": "", "negative_prompt": "", "styles": None, "seed": -1, "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_name": None, "scheduler": None, "batch_size": 1, "n_iter": 1,
    "steps": 50, "cfg_scale": 7.0, "width": 512, "height": 512, "restore_faces": None, "tiling": None,
    "do_not_save_samples": False, "do_not_save_grid": False, "eta": None, "s_min_uncond": None, "s_churn": None, "s_tmax": None,
    "s_tmin": None, "s_noise": None, "override_settings": None, "override_settings_restore_afterwards": True,
    "refiner_checkpoint": None, "refiner_switch_at": None, "disable_extra_networks": False, "firstpass_image": None,
    "comments": None, "force_task_id": None, "sampler_index": "Euler", "script_name": None, "script_args": [], "send_images": True,
    "save_images": False, "alwayson_scripts": {}, "infotext": None}
HIRES = {"denoising_strength": None, "enable_hr": False, "firstphase_width": 0, "firstphase_height": 0, "hr_scale": 2.0,
         "hr_upscaler": None, "hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": None,
         "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "", "hr_negative_prompt": ""}
REDRAW = {"init_images": None, "resize_mode": 0, "denoising_strength": 0.75, "image_cfg_scale": None, "mask": None,
          "mask_blur_x": 4, "mask_blur_y": 4, "mask_blur": None, "mask_round": True, "inpainting_fill": 0,
          "inpaint_full_res": True, "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0, "initial_noise_multiplier": None,
          "latent_mask": None, "include_init_images": False}
INFO = """prompt all_prompts negative_prompt all_negative_prompts seed all_seeds subseed all_subseeds subseed_strength width height
    sampler_name cfg_scale steps batch_size restore_faces face_restoration_model sd_model_name sd_model_hash sd_vae_name sd_vae_hash
    seed_resize_from_w seed_resize_from_h denoising_strength extra_generation_params index_of_first_image infotexts styles
    job_timestamp clip_skip is_using_inpainting_conditioning version""".split()


def test_answers(_):
    with Studio() as server:
        answer = server.txt2img(negative_prompt="blue", batch_size=2)
        assert set(answer) == {"images", "parameters", "info"} and len(answer["images"]) == 2
        assert not answer["images"][0].startswith("data:") and size(answer["images"][0]) == (64, 64)
        about = info(answer)
        assert set(INFO) <= set(about), set(INFO) - set(about)
        assert about["all_seeds"] == [7, 8] and about["seed"] == 7 and about["width"] == 64 and about["steps"] == 1
        assert about["prompt"] == "a red fox" and about["negative_prompt"] == "blue" and len(about["infotexts"]) == 2
        for fields, extra in ((FIELDS, HIRES), (FIELDS, REDRAW)):
            wanted = {**fields, **extra}
            if extra is REDRAW:
                answer = server.ok("/sdapi/v1/img2img", {"init_images": [gradient()], "steps": 2, "width": 64, "height": 64})
                wanted = {**wanted, "init_images": None, "steps": 2, "width": 64, "height": 64}
            else:
                answer = server.ok("/sdapi/v1/txt2img", {"steps": 1, "width": 64, "height": 64, "unknown_field": 1})
                wanted = {**wanted, "steps": 1, "width": 64, "height": 64}
                assert "unknown_field" not in answer["parameters"]
            got = answer["parameters"]
            wrong = {name: got.get(name, "absent") for name, value in wanted.items() if got.get(name, "absent") != value}
            assert not wrong, wrong
        answer = server.ok("/sdapi/v1/txt2img", {**SMALL, "send_images": False})
        assert answer["images"] == [] and info(answer)["infotexts"]
        echo = server.img2img(init_images=[gradient()], include_init_images=True)["parameters"]
        assert echo["init_images"] == [gradient()]
        nulls = {name: None for name in {**FIELDS, **HIRES}}  # null is "default" for every field
        server.ok("/sdapi/v1/txt2img", {**nulls, "steps": 1, "width": 64.0, "height": "64"})


def test_validation(_):
    with Studio() as server:
        def detail(path, body):
            status, answer = server.call("/sdapi/v1/" + path, body)
            assert status == 422, (path, body, status, answer)
            return answer["detail"]
        assert detail("png-info", {}) == [{"loc": ["body", "image"], "msg": "field required", "type": "value_error.missing"}]
        found = detail("txt2img", {"steps": "many", "width": 0, "seed": "1.5", "styles": ["a", []], "tiling": "perhaps", "prompt": {}, "subseed": 1e300,
                                   "override_settings": [], "script_args": {}, "denoising_strength": 1.5})
        assert {tuple(p["loc"]): p["type"] for p in found} == {
            ("body", "steps"): "type_error.integer", ("body", "width"): "value_error.number.not_ge",
            ("body", "seed"): "type_error.integer", ("body", "subseed"): "type_error.integer", ("body", "styles", 1): "type_error.str", ("body", "tiling"): "type_error.bool",
            ("body", "prompt"): "type_error.str", ("body", "override_settings"): "type_error.dict",
            ("body", "script_args"): "type_error.list", ("body", "denoising_strength"): "value_error.number.not_le"}
        assert detail("txt2img", "")[0]["loc"] == ["body"]
        for body in ("[]", "[1]", "5", '"a"'):
            assert detail("txt2img", body) == [{"loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict"}], body
        assert detail("txt2img", "null") == [{"loc": ["body"], "msg": "field required", "type": "value_error.missing"}]
        assert detail("img2img", {"init_images": [None]})[0]["type"] == "type_error.none.not_allowed"
        broken = detail("txt2img", '{"steps": 1,,}')[0]
        assert broken["type"] == "value_error.jsondecode" and broken["loc"][0] == "body" and 10 < broken["loc"][1] < 15, broken
        assert broken["ctx"]["pos"] == broken["loc"][1] and broken["msg"].endswith(f"line 1 column {broken['ctx']['colno']} (char {broken['ctx']['pos']})")
        loose = server.ok("/sdapi/v1/txt2img", {"steps": 1.9, "width": "64", "height": " 64 ", "seed": True, "tiling": "off", "cfg_scale": "2.5",
                                                "prompt": 5, "negative_prompt": False, "send_images": 1})  # what pydantic 1 makes of these
        wanted = {"steps": 1, "width": 64, "height": 64, "seed": 1, "tiling": False, "cfg_scale": 2.5, "prompt": "5", "negative_prompt": "False"}
        assert {name: loose["parameters"][name] for name in wanted} == wanted and len(loose["images"]) == 1
        assert detail("txt2img", '{"a":' * 100 + "1" + "}" * 100)
        assert detail("txt2img", b'{"prompt":"\xff"}')
        assert detail("extra-single-image", {"image": gradient(), "upscaling_resize": 0})[0]["type"] == "value_error.number.not_gt"
        assert detail("extra-batch-images", {"image_list": []})[0]["loc"] == ["body", "imageList"]
        assert detail("options", {"CLIP_stop_at_last_layers": "deep"})


def test_refusals(_):
    """What the server cannot do is said, never left out."""
    with Studio() as server:
        for status, path, body, word in (
                (404, "img2img", {}, "Init image not found"), (404, "txt2img", {"sampler_name": "no such"}, "Sampler"),
                (404, "txt2img", {"scheduler": "no such"}, "Scheduler"), (404, "txt2img", {"styles": ["no such"]}, "Style"),
                (422, "txt2img", {"script_name": "no such"}, "Script 'no such' not found"),
                (422, "txt2img", {"alwayson_scripts": {"ADetailer": {"args": [True, {}]}}}, "ADetailer"),
                (422, "txt2img", {"restore_faces": True}, "restore_faces"), (404, "txt2img", {"refiner_checkpoint": "x"}, "no such model"),
                (422, "txt2img", {"s_min_uncond": 5}, "s_min_uncond"), (422, "txt2img", {"batch_size": 16, "n_iter": 256}, "pictures"),
                (500, "img2img", {"init_images": ["not base64!"]}, "Invalid encoded image"),
                (500, "img2img", {"init_images": [base64.b64encode(b"no picture").decode()]}, "Invalid encoded image"),
                (500, "img2img", {"init_images": ["http://127.0.0.1:1/a.png"]}, "Requests not allowed"),
                (500, "img2img", {"init_images": [gradient()] * 2}, "bad number of images passed: 2; expecting 1 or less"),
                (500, "img2img", {"init_images": [gradient()], "mask": "x"}, "Invalid encoded image"),
                (422, "txt2img", {"alwayson_scripts": {"no such": {}}}, "always on script no such not found"),
                (501, "interrogate", {"image": gradient()}, "describes"), (404, "interrogate", {"image": "x", "model": "y"}, "Model not found"),
                (404, "extra-single-image", {}, "Image not found"), (500, "extra-single-image", {"image": "x"}, "Invalid encoded image"), (500, "png-info", {"image": "https://a.example/b.png"}, "Requests"),
                (422, "extra-single-image", {"image": gradient(), "gfpgan_visibility": 1}, "faces"),
                (501, "server-kill", {}, "whoever started it"), (501, "train/embedding", {}, "train")):
            got, answer = server.call("/sdapi/v1/" + path, body)
            assert got == status and word in answer["detail"], (path, body, got, answer)
            assert set(answer) == {"error", "detail", "body", "errors"}, answer
        unknown = server.txt2img(override_settings={"sd_model_checkpoint": "no such"}, override_settings_restore_afterwards=False)
        assert "no such" in info(unknown)["comments"], "as A1111 leaves it out, but says so"
        assert "no such" not in server.ok("/sdapi/v1/options")["sd_model_checkpoint"]
        assert server.call("/sdapi/v1/nothing")[1]["detail"] == "Not Found"
        status, answer = server.call("/sdapi/v1/txt2img", method="GET")
        assert status == 405 and answer["detail"] == "Method Not Allowed"
        assert server.call("/sdapi/v1/txt2img", "{}", {"Content-Type": "text/plain"})[0] == 415
        server.ok("/sdapi/v1/txt2img", {**SMALL, "alwayson_scripts": {"ADetailer": {"args": [False]}, "controlnet": {"args": []}}})


def test_limits(_):
    with Studio() as server:
        status, _, body = server.request("/sdapi/v1/options", "POST", b"x" * (2 << 20), {"Content-Type": "application/json"})
        assert status == 413 and json.loads(body)["detail"], body
        assert server.call("/sdapi/v1/txt2img", {"width": 100000})[0] == 422
        assert server.call("/sdapi/v1/txt2img", {"batch_size": 1000})[0] == 422
        large = make_png(3000, 10, lambda x, y: (x & 255, 0, 0))
        assert server.ok("/sdapi/v1/png-info", {"image": "data:image/png;base64," + large})["info"] == ""


def test_log_in(folder):
    (folder / "users").write_text("anna:secret\nbert:other\n")
    with Studio("--users", folder / "users") as server:
        def basic(name, password):
            return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
        assert server.call("/sdapi/v1/samplers")[1]["detail"] == "Not authenticated"
        status, headers, _ = server.request("/sdapi/v1/options", headers=basic("anna", "wrong"))
        assert status == 401 and headers["WWW-Authenticate"].startswith("Basic")
        for path in ("/docs", "/openapi.json", "/internal/sysinfo", "/controlnet/model_list", "/v1/models"):
            assert server.status(path) == 401, path
        anna, bert = {"headers": basic("anna", "secret")}, {"headers": basic("bert", "other")}
        server.ok("/sdapi/v1/options", {"jpeg_quality": 55}, **anna)  # each has options of their own
        assert server.ok("/sdapi/v1/options", **anna)["jpeg_quality"] == 55
        assert server.ok("/sdapi/v1/options", **bert)["jpeg_quality"] == 80


def test_options(folder):
    data = folder / "data"
    with Studio(data=data) as server:
        options = server.ok("/sdapi/v1/options")
        for name in "samples_format sd_model_checkpoint CLIP_stop_at_last_layers sd_vae outdir_txt2img_samples".split():
            assert name in options, name
        assert "forge_preset" not in options
        assert server.ok("/sdapi/v1/options", options) is None  # the whole object back, as Open WebUI does
        assert server.ok("/sdapi/v1/options") == options
        models = server.ok("/sdapi/v1/sd-models")
        assert options["sd_model_checkpoint"] in [m["title"] for m in models]
        for name in (models[0]["title"], models[0]["model_name"]):
            server.ok("/sdapi/v1/options", {**options, "sd_model_checkpoint": name, "no_such_option": 5})
        status, answer = server.call("/sdapi/v1/options", {"sd_model_checkpoint": "no such"})
        assert status == 500 and answer["error"] == "RuntimeError" and answer["errors"] == "model 'no such' not found"
        status, answer = server.call("/sdapi/v1/options", {"jpeg_quality": 70, "emphasis": "None"})
        assert status == 422 and answer["detail"][0]["loc"] == ["body", "emphasis"]
        assert server.ok("/sdapi/v1/options")["jpeg_quality"] == 80  # all or nothing
        server.ok("/sdapi/v1/options", {"CLIP_stop_at_last_layers": 2})
        assert read_infotext(info(server.txt2img())["infotexts"][0])[2]["Clip skip"] == "2"
        fields = {"override_settings": {"CLIP_stop_at_last_layers": 1}}
        assert "Clip skip" not in read_infotext(info(server.txt2img(**fields))["infotexts"][0])[2]
        assert server.ok("/sdapi/v1/options")["CLIP_stop_at_last_layers"] == 2
        server.txt2img(**fields, override_settings_restore_afterwards=False)
        assert server.ok("/sdapi/v1/options")["CLIP_stop_at_last_layers"] == 1
        server.ok("/sdapi/v1/options", {"jpeg_quality": 33})
    with Studio(data=data) as server:
        assert server.ok("/sdapi/v1/options")["jpeg_quality"] == 33


def test_lists(_):
    with Studio() as server:
        samplers = {s["name"]: s for s in server.ok("/sdapi/v1/samplers")}
        assert list(samplers)[0] == "DPM++ 2M" and samplers["DPM++ 2M"]["options"]["scheduler"] == "karras"
        assert all(set(s) == {"name", "aliases", "options"} for s in samplers.values())
        schedulers = {s["name"]: s for s in server.ok("/sdapi/v1/schedulers")}
        assert schedulers["karras"]["label"] == "Karras" and schedulers["karras"]["default_rho"] == 7
        assert schedulers["sgm_uniform"]["aliases"] == ["SGMUniform"] and schedulers["automatic"]["aliases"] is None
        assert [u["name"] for u in server.ok("/sdapi/v1/upscalers")][:3] == ["None", "Lanczos", "Nearest"]
        assert server.ok("/sdapi/v1/latent-upscale-modes")[0] == {"name": "Latent"}
        for path in "sd-vae hypernetworks face-restorers realesrgan-models prompt-styles loras extensions".split():
            assert isinstance(server.ok("/sdapi/v1/" + path), list), path
        assert set(server.ok("/sdapi/v1/embeddings")) == {"loaded", "skipped"}
        memory = server.ok("/sdapi/v1/memory")
        assert memory["ram"]["used"] > 0 and set(memory) == {"ram", "cuda"}
        for path in "refresh-checkpoints refresh-vae refresh-loras refresh-embeddings skip".split():
            assert server.call("/sdapi/v1/" + path, method="POST") == (200, None), path
        for path in "interrupt unload-checkpoint reload-checkpoint".split():
            assert server.call("/sdapi/v1/" + path, method="POST") == (200, {}), path
        assert "controlnet m2m" in server.ok("/sdapi/v1/scripts")["txt2img"]
        plot = [s for s in server.ok("/sdapi/v1/script-info") if s["name"] == "x/y/z plot" and not s["is_img2img"]][0]
        assert plot["args"][0]["choices"][4] == "Steps" and not plot["is_alwayson"]
        assert server.ok("/controlnet/version") == {"version": 2} and "none" in server.ok("/controlnet/module_list")["module_list"]
        assert isinstance(server.ok("/controlnet/model_list")["model_list"], list)
        assert server.ok("/internal/ping") == {} and server.ok("/internal/pending-tasks") == {"size": 0, "tasks": []}
        idle = server.ok("/sdapi/v1/progress?skip_current_image=true")
        assert idle["progress"] == 0 and idle["state"]["job_count"] == 0 and idle["current_image"] is None
        status, answer = server.call("/sdapi/v1/progress?skip_current_image=perhaps")
        assert status == 422 and answer["detail"][0]["loc"] == ["query", "skip_current_image"]
        startup = server.ok("/internal/profile-startup")
        assert startup["total"] > 0 and isinstance(startup["records"], dict)
        assert {"sd_model_checkpoint", "CLIP_stop_at_last_layers"} <= {o["name"] for o in server.ok("/internal/quicksettings-hint")}
        for path, body in (("samplers", None), ("txt2img", json.dumps(SMALL)), ("png-info", json.dumps({"image": gradient()}))):
            headers = server.request("/sdapi/v1/" + path, "POST" if body else "GET", body, {"Content-Type": "application/json"} if body else {})[1]
            assert 0 <= float(headers["X-Process-Time"]) < 60, path
        waiting = server.ok("/internal/progress", {"id_task": "none"})
        assert not waiting["active"] and waiting["textinfo"] == "Waiting..." and waiting["progress"] is None
        assert server.call("/free", {}) == (200, {})


def test_controlnet(_):
    with Studio() as server:
        types = server.ok("/controlnet/control_types")["control_types"]
        assert types["Canny"]["default_option"] == "canny" and "None" in types["All"]["model_list"]
        assert all(set(t) == {"module_list", "model_list", "default_option", "default_model"} for t in types.values())
        edges = server.ok("/controlnet/detect", {"controlnet_module": "canny", "controlnet_input_images": [gradient(), gradient(32, 64)],
                                                 "controlnet_processor_res": 48})
        assert edges["info"] == "Success" and [size(i) for i in edges["images"]] == [(48, 48), (48, 96)]
        for status, body in ((422, {"controlnet_module": "no such", "controlnet_input_images": [gradient()]}),
                             (422, {"controlnet_module": "canny"}), (500, {"controlnet_module": "canny", "controlnet_input_images": ["x"]})):
            assert server.call("/controlnet/detect", body)[0] == status, body
        unit = {"model": "x", "image": gradient()}
        for change, word in (({"module": "no such"}, "module"), ({"model": "None"}, "model"), ({"image": None}, "picture"),
                             ({"control_mode": "sideways"}, "control_mode"), ({"resize_mode": 9}, "resize_mode"),
                             ({"weight": "much"}, "weight"), ({"mask": gradient()}, "masks"),
                             ({}, "x")):
            body = {**SMALL, "alwayson_scripts": {"controlnet": {"args": [{**unit, **change}]}}}
            status, answer = server.call("/sdapi/v1/txt2img", body)
            assert status == (422 if change else 404) and word in answer["detail"], (change, answer)
        body = {**SMALL, "alwayson_scripts": {"controlnet": {"args": [{**unit, "image": "x"}]}}}
        assert server.call("/sdapi/v1/txt2img", body)[0] == 500


def test_description(_):
    """Every address is described from the table that serves it."""
    with Studio() as server:
        document = server.ok("/openapi.json")
        assert document["openapi"].startswith("3.")
        routes = server.ok("/api/routes")
        for route in routes:
            if route["websocket"]:
                continue
            described = document["paths"][route["path"]]
            assert {m.upper() for m in described} >= set(route["methods"].split(",")), route
        schemas = document["components"]["schemas"]
        properties = schemas["StableDiffusionProcessingTxt2Img"]["properties"]
        for name, value in {**FIELDS, **HIRES}.items():
            assert properties[name].get("default") == value, name
        assert schemas["PNGInfoRequest"]["required"] == ["image"]
        identifiers = [o["operationId"] for p in document["paths"].values() for o in p.values()]
        assert len(identifiers) == len(set(identifiers))

        def references(node):
            if isinstance(node, dict):
                yield from [node["$ref"]] if "$ref" in node else []
                node = list(node.values())
            for item in node if isinstance(node, list) else []:
                yield from references(item)
        assert all(r.rsplit("/", 1)[1] in schemas for r in references(document))
        status, headers, page = server.request("/docs")
        assert status == 200 and headers["Content-Type"].startswith("text/html")
        for word in ("/sdapi/v1/txt2img", "inpaint_full_res_padding", "/api/state"):
            assert word.encode() in page, word
        assert b"http://" not in page and b"https://" not in page and b"<script" not in page


def test_openai(_):
    with Studio() as server:
        models = server.ok("/v1/models")
        assert models["object"] == "list" and models["data"][0]["object"] == "model"
        fields = {"prompt": "a red fox", "size": "64x64", "steps": 1, "seed": 7}
        answer = server.ok("/v1/images/generations", {**fields, "n": 2, "response_format": "b64_json"})
        assert [size(d["b64_json"]) for d in answer["data"]] == [(64, 64)] * 2 and answer["created"] > 0
        by_address = server.ok("/v1/images/generations", {**fields, "model": models["data"][0]["id"], "response_format": "url"})
        path = "/" + by_address["data"][0]["url"].split("/", 3)[3]
        status, headers, picture = server.request(path)
        assert status == 200 and headers["Content-Type"] == "image/png" and size(base64.b64encode(picture).decode()) == (64, 64)
        for status, more, word in ((400, {"prompt": None}, "field required"), (400, {"size": "big"}, "size"), (400, {"n": 0}, "1"),
                                   (400, {"response_format": "x"}, "b64_json"), (404, {"model": "no such"}, "no such")):
            got, answer = server.call("/v1/images/generations", {**fields, **more})
            assert got == status and word in answer["error"]["message"], (more, got, answer)
        start = pixels(gradient())[2]
        alpha = base64.b64decode(make_png(64, 64, lambda x, y: (0, 0, 0, 0 if x >= 32 else 255)))
        edit = {"prompt": "a red fox", "steps": "2", "seed": "7", "response_format": "b64_json"}
        image = ("image[]", base64.b64decode(gradient()))
        plain = server.form("/v1/images/edits", edit, [image])
        assert plain[0] == 200 and size(plain[1]["data"][0]["b64_json"]) == (64, 64)
        masked = server.form("/v1/images/edits", {**edit, "size": "64x64"}, [("image", image[1]), ("mask", alpha)])[1]["data"][0]["b64_json"]
        rows = pixels(masked)[2]
        assert all(rows[y][:3 * 20] == start[y][:3 * 20] and rows[y][3 * 44:] != start[y][3 * 44:] for y in (4, 60))
        as_json = server.ok("/v1/images/edits", {**edit, "image": "data:image/png;base64," + gradient()})
        assert pixels(as_json["data"][0]["b64_json"]) == pixels(plain[1]["data"][0]["b64_json"])
        for files, word in (([], "field required"), ([image, image], "one picture"), ([("image", b"no picture")], "Invalid encoded image"),
                            ([image, ("mask", b"x")], "Invalid encoded image")):
            status, answer = server.form("/v1/images/edits", edit, files)
            assert status == 400 and word in answer["error"]["message"], (word, status, answer)
        status, _, body = server.request("/v1/images/edits", "POST", b"--x\r\nno form", {"Content-Type": "multipart/form-data; boundary=x"})
        assert status == 400 and b"form" in body
        status, _, body = server.request("/v1/images/generations", "POST", b"--x--", {"Content-Type": "multipart/form-data; boundary=x"})
        assert status == 415, "only where files come"
        status, _, body = server.request("/v1/images/edits", "POST", b"--x--", {"Content-Type": "multipart/form-data; boundary=x",
                                                                               "Origin": "http://evil.example"})
        assert status == 403, "a page of another site can send forms"
        assert server.call("/v1/nothing")[1]["error"]["type"] == "invalid_request_error"


if __name__ == "__main__":
    run_tests(globals())
