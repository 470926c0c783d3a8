#!/usr/bin/env python3
"""Replayed: the requests that SillyTavern, Open WebUI, LibreChat and webuiapi send, in their order, with their fields."""
import base64
import json

from sdapi import Studio, gradient, info, png_texts, size
from serve import eventually, run_tests


def test_sillytavern(_):
    with Studio() as server:
        server.ok("/sdapi/v1/options")  # its ping
        model = server.ok("/sdapi/v1/sd-models")[0]["title"]
        sampler = [s["name"] for s in server.ok("/sdapi/v1/samplers")][0]
        scheduler = [s["name"] for s in server.ok("/sdapi/v1/schedulers")][2]
        upscalers = [u["name"] for u in server.ok("/sdapi/v1/upscalers")]
        assert upscalers[0] == "None"
        upscalers[1:1] = [m["name"] for m in server.ok("/sdapi/v1/latent-upscale-modes")]  # spliced in at 1
        assert [v["model_name"] for v in server.ok("/sdapi/v1/sd-vae")] == []
        assert server.ok("/sdapi/v1/options", {"sd_model_checkpoint": model}) is None

        def idle():
            state = server.ok("/sdapi/v1/progress")
            return state["progress"] == 0.0 and state["state"]["job_count"] == 0
        eventually(idle, "the model is loaded")
        assert server.ok("/sdapi/v1/options")["sd_model_checkpoint"] == model
        answer = server.ok("/sdapi/v1/txt2img", {
            "prompt": "a red fox", "negative_prompt": "blue", "sampler_name": sampler, "scheduler": scheduler, "steps": 2,
            "cfg_scale": 7, "width": 64, "height": 64, "restore_faces": False, "enable_hr": True, "hr_upscaler": upscalers[1],
            "hr_scale": 1.5, "hr_additional_modules": [], "denoising_strength": 0.7, "hr_second_pass_steps": 1, "seed": 5,
            "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"},
            "override_settings_restore_afterwards": True, "clip_skip": 1, "save_images": True, "send_images": True,
            "do_not_save_grid": False, "do_not_save_samples": False})
        assert size(answer["images"][0]) == (96, 96)
        server.ok("/sdapi/v1/interrupt", "", method="POST")


def test_open_webui(_):
    with Studio() as server:
        options = server.ok("/sdapi/v1/options")
        models = [(m["title"], m["model_name"]) for m in server.ok("/sdapi/v1/sd-models")]
        options["sd_model_checkpoint"] = models[0][0]
        server.ok("/sdapi/v1/options", options)
        answer = server.ok("/sdapi/v1/txt2img", {"prompt": "a red fox", "batch_size": 2, "width": 64, "height": 64, "steps": 1,
                                                 "negative_prompt": "", "cfg_scale": 6.0, "sampler_name": "Euler a",
                                                 "scheduler": "Automatic"})
        assert len(answer["images"]) == 2 and json.loads(answer["info"])["prompt"] == "a red fox"


def test_librechat(_):
    with Studio() as server:
        answer = server.ok("/sdapi/v1/txt2img", {"prompt": "a red fox", "negative_prompt": "blue", "cfg_scale": 4.5, "steps": 2,
                                                 "width": 64, "height": 64})
        assert base64.b64decode(answer["images"][0])
        assert info(answer)["infotexts"][0] == png_texts(base64.b64decode(answer["images"][0]))["parameters"]


def test_webuiapi(_):
    with Studio() as server:
        scripts = server.ok("/sdapi/v1/scripts")
        assert "controlnet m2m" in scripts["txt2img"] and "adetailer" not in scripts["txt2img"]
        fields = {
            "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0,
            "hr_resize_y": 0, "hr_checkpoint_name": None, "hr_sampler_name": None, "hr_prompt": "", "hr_negative_prompt": "",
            "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0, "prompt": "a red fox", "styles": [], "seed": 5,
            "subseed": -1, "subseed_strength": 0.0, "seed_resize_from_h": 0, "seed_resize_from_w": 0, "batch_size": 1, "n_iter": 1,
            "steps": 1, "cfg_scale": 7.0, "width": 64, "height": 64, "restore_faces": False, "tiling": False,
            "do_not_save_samples": False, "do_not_save_grid": False, "negative_prompt": "", "eta": 1.0, "s_churn": 0, "s_tmax": 0,
            "s_tmin": 0, "s_noise": 1, "override_settings": {}, "override_settings_restore_afterwards": True, "script_args": [],
            "script_name": None, "send_images": True, "save_images": False, "alwayson_scripts": {"ControlNet": {"args": []}},
            "sampler_name": "Euler a", "use_deprecated_controlnet": False}
        answer = server.ok("/sdapi/v1/txt2img", fields)
        assert size(answer["images"][0]) == (64, 64) and answer["parameters"]["prompt"] == "a red fox"
        redraw = {k: v for k, v in fields.items() if not k.startswith(("hr_", "enable_hr", "firstphase"))}
        answer = server.ok("/sdapi/v1/img2img", {
            **redraw, "init_images": ["data:image/png;base64," + gradient()], "resize_mode": 0, "denoising_strength": 0.75,
            "image_cfg_scale": 1.5, "mask": None, "mask_blur": 4, "inpainting_fill": 0, "inpaint_full_res": True,
            "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0, "initial_noise_multiplier": 1, "include_init_images": False})
        assert info(answer)["denoising_strength"] == 0.75
        unit = {"input_image": gradient(), "mask": "", "module": "none", "model": "no such", "weight": 1.0,
                "resize_mode": "Resize and Fill", "lowvram": False, "processor_res": 512, "threshold_a": 64, "threshold_b": 64,
                "guidance": 1.0, "guidance_start": 0.0, "guidance_end": 1.0, "control_mode": ["Balanced"], "pixel_perfect": False,
                "guessmode": None, "hr_option": "Both", "enabled": True}
        status, answer = server.call("/sdapi/v1/txt2img", {**fields, "alwayson_scripts": {"ControlNet": {"args": [unit]}}})
        assert status == 404 and "no such" in answer["detail"], answer
        status, answer = server.call("/sdapi/v1/txt2img", {**fields, "alwayson_scripts": {
            "ControlNet": {"args": [{**unit, "enabled": False}]}}})
        assert status == 200
        old = server.call("/controlnet/txt2img", {**fields, "controlnet_units": [unit]})
        assert old[0] == 404 and "no such" in old[1]["detail"]
        large = server.ok("/sdapi/v1/extra-single-image", {
            "image": "data:image/png;base64," + gradient(), "resize_mode": 0, "show_extras_results": True, "gfpgan_visibility": 0,
            "codeformer_visibility": 0, "codeformer_weight": 0, "upscaling_resize": 2, "upscaling_resize_w": 512,
            "upscaling_resize_h": 512, "upscaling_crop": True, "upscaler_1": "Lanczos", "upscaler_2": "None",
            "extras_upscaler_2_visibility": 0, "upscale_first": False})
        assert size(large["image"]) == (128, 128)
        for path in "options cmd-flags samplers upscalers latent-upscale-modes sd-models sd-vae hypernetworks face-restorers " \
                    "realesrgan-models prompt-styles embeddings loras memory progress script-info".split():
            server.ok("/sdapi/v1/" + path)
        assert server.ok("/controlnet/version")["version"] == 2
        server.ok("/sdapi/v1/unload-checkpoint", "", method="POST")
        server.ok("/sdapi/v1/txt2img", fields)  # loads by itself
        server.ok("/sdapi/v1/reload-checkpoint", "", method="POST")


if __name__ == "__main__":
    run_tests(globals())
