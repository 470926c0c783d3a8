/* A GStreamer plugin with an element that has the name and the properties of NVIDIA's H.264 encoder, and
 * x264enc inside, for machines without one. With REVERIE_FAKE_NVENC=busy it does not open, as when the card
 * has no session left. */
#include <gst/gst.h>

#define PACKAGE "fake-nvenc"

typedef struct {
    GstBin base;
    GstElement *encoder;
} FakeNvenc;

typedef struct {
    GstBinClass base;
} FakeNvencClass;

enum { PRESET = 1, RATE_CONTROL, ZERO_LATENCY, B_FRAMES, GOP_SIZE, BITRATE };

GType fake_nvenc_get_type(void);
G_DEFINE_TYPE(FakeNvenc, fake_nvenc, GST_TYPE_BIN)

static void
add_pad(FakeNvenc *fake, const char *name)
{
    GstPad *pad = gst_element_get_static_pad(fake->encoder, name);
    gst_element_add_pad(GST_ELEMENT(fake), gst_ghost_pad_new(name, pad));
    gst_object_unref(pad);
}

static void
fake_nvenc_init(FakeNvenc *fake)
{
    fake->encoder = gst_element_factory_make("x264enc", NULL);
    gst_util_set_object_arg(G_OBJECT(fake->encoder), "tune", "zerolatency");
    gst_util_set_object_arg(G_OBJECT(fake->encoder), "speed-preset", "ultrafast");
    g_object_set(fake->encoder, "byte-stream", TRUE, "threads", 1, "key-int-max", 3000, NULL);
    gst_bin_add(GST_BIN(fake), fake->encoder);
    add_pad(fake, "sink");
    add_pad(fake, "src");
}

static void
set_property(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    FakeNvenc *fake = (FakeNvenc *)object;
    if (id == BITRATE)
        g_object_set_property(G_OBJECT(fake->encoder), "bitrate", value);
}

static GstStateChangeReturn
change_state(GstElement *element, GstStateChange change)
{
    if (change == GST_STATE_CHANGE_NULL_TO_READY && g_strcmp0(g_getenv("REVERIE_FAKE_NVENC"), "busy") == 0)
        return GST_STATE_CHANGE_FAILURE;
    return GST_ELEMENT_CLASS(fake_nvenc_parent_class)->change_state(element, change);
}

static void
fake_nvenc_class_init(FakeNvencClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->set_property = set_property;
    g_object_class_install_property(object, PRESET,
                                    g_param_spec_string("preset", "", "", NULL, G_PARAM_WRITABLE));
    g_object_class_install_property(object, RATE_CONTROL,
                                    g_param_spec_string("rc-mode", "", "", NULL, G_PARAM_WRITABLE));
    g_object_class_install_property(object, ZERO_LATENCY,
                                    g_param_spec_boolean("zerolatency", "", "", FALSE, G_PARAM_WRITABLE));
    g_object_class_install_property(object, B_FRAMES,
                                    g_param_spec_uint("bframes", "", "", 0, 4, 0, G_PARAM_WRITABLE));
    g_object_class_install_property(object, GOP_SIZE,
                                    g_param_spec_int("gop-size", "", "", -1, 999, 75, G_PARAM_WRITABLE));
    g_object_class_install_property(object, BITRATE,
                                    g_param_spec_uint("bitrate", "", "", 0, 2048000, 0, G_PARAM_WRITABLE));
    gst_element_class_set_static_metadata(GST_ELEMENT_CLASS(class), "Not NVENC", "Codec/Encoder/Video",
                                          "x264enc under another name", "Reverie");
    GST_ELEMENT_CLASS(class)->change_state = change_state;
}

static gboolean
start(GstPlugin *plugin)
{
    return gst_element_register(plugin, "nvh264enc", GST_RANK_NONE, fake_nvenc_get_type());
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, fakenvenc, "An encoder's name", start, "0.1",
                  "Proprietary", "reverie", "http://localhost")
