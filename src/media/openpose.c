/* openpose.c - poses from keypoints to the map that ControlNets were trained on. */
#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#include "base/json_check.h"
#include "media/annotate.h"

#define BODY 18
#define MOST_PEOPLE 64
#define MOST_POINTS 512

typedef struct {
    double x, y; /* 0 to 1 */
    bool known;
} Point;

static const guint8 colours[BODY][3] = {
    { 255, 0, 0 }, { 255, 85, 0 }, { 255, 170, 0 }, { 255, 255, 0 }, { 170, 255, 0 }, { 85, 255, 0 },
    { 0, 255, 0 }, { 0, 255, 85 }, { 0, 255, 170 }, { 0, 255, 255 }, { 0, 170, 255 }, { 0, 85, 255 },
    { 0, 0, 255 }, { 85, 0, 255 }, { 170, 0, 255 }, { 255, 0, 255 }, { 255, 0, 170 }, { 255, 0, 85 },
};
static const guint8 limbs[][2] = {
    { 1, 2 },  { 1, 5 },   { 2, 3 },   { 3, 4 }, { 5, 6 },  { 6, 7 },   { 1, 8 },  { 8, 9 },   { 9, 10 },
    { 1, 11 }, { 11, 12 }, { 12, 13 }, { 1, 0 }, { 0, 14 }, { 14, 16 }, { 0, 15 }, { 15, 17 },
};
/* Where COCO's 18 points are among BODY_25's. */
static const int from_25[BODY] = { 0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18 };

static void
put(RvPicture *p, int x, int y, const guint8 colour[3], double share)
{
    if (x < 0 || y < 0 || x >= p->width || y >= p->height)
        return;
    guint8 *to = p->rgb + 3 * ((gsize)y * (gsize)p->width + (gsize)x);
    for (int c = 0; c < 3; c++)
        to[c] = (guint8)(share * colour[c]);
}

/* An ellipse along the line, 4 pixels to each side. */
static void
draw_limb(RvPicture *p, Point a, Point b, const guint8 colour[3])
{
    double ax = a.x * p->width, ay = a.y * p->height, bx = b.x * p->width, by = b.y * p->height;
    double cx = (ax + bx) / 2.0, cy = (ay + by) / 2.0, length = hypot(bx - ax, by - ay) / 2.0;
    double ux = length > 0.0 ? (bx - ax) / (2.0 * length) : 1.0,
           uy = length > 0.0 ? (by - ay) / (2.0 * length) : 0.0;
    int reach = (int)MIN(length + 5.0, 20000.0);
    for (int y = MAX((int)cy - reach, 0); y <= MIN((int)cy + reach, p->height - 1); y++)
        for (int x = MAX((int)cx - reach, 0); x <= MIN((int)cx + reach, p->width - 1); x++) {
            double along = (x - cx) * ux + (y - cy) * uy, across = (y - cy) * ux - (x - cx) * uy;
            double far = MAX(length, 0.5);
            if (along * along / (far * far) + across * across / 16.0 <= 1.0)
                put(p, x, y, colour, 0.6);
        }
}

static void
draw_joint(RvPicture *p, Point at, int radius, const guint8 colour[3])
{
    int cx = (int)(at.x * p->width), cy = (int)(at.y * p->height);
    for (int y = -radius; y <= radius; y++)
        for (int x = -radius; x <= radius; x++)
            if (x * x + y * y <= radius * radius)
                put(p, cx + x, cy + y, colour, 1.0);
}

/* x, y and confidence of each point, brought to 0 to 1; the number of points, -1: malformed. */
static int
read_points(JsonObject *person, const char *key, double width, double height, Point points[MOST_POINTS])
{
    JsonNode *node = json_object_get_member(person, key);
    if (node == NULL || JSON_NODE_HOLDS_NULL(node))
        return 0;
    JsonArray *numbers = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    guint count = numbers != NULL ? json_array_get_length(numbers) : 1;
    if (numbers == NULL || count % 3 != 0 || count / 3 > MOST_POINTS)
        return -1;
    bool shares = true;
    for (guint i = 0; i < count; i++) {
        JsonNode *number = json_array_get_element(numbers, i);
        if (!JSON_NODE_HOLDS_VALUE(number) || !isfinite(json_node_get_double(number)) ||
            fabs(json_node_get_double(number)) > 1e6)
            return -1;
        shares &= i % 3 == 2 || fabs(json_node_get_double(number)) <= 1.0;
    }
    for (guint i = 0; i < count / 3; i++) {
        double x = json_array_get_double_element(numbers, 3 * i),
               y = json_array_get_double_element(numbers, 3 * i + 1);
        points[i] = (Point) { shares ? x : x / width, shares ? y : y / height,
                              json_array_get_double_element(numbers, 3 * i + 2) > 0.0 };
    }
    return (int)(count / 3);
}

static void
draw_body(RvPicture *p, const Point body[BODY])
{
    for (gsize i = 0; i < G_N_ELEMENTS(limbs); i++)
        if (body[limbs[i][0]].known && body[limbs[i][1]].known)
            draw_limb(p, body[limbs[i][0]], body[limbs[i][1]], colours[i]);
    for (int i = 0; i < BODY; i++)
        if (body[i].known)
            draw_joint(p, body[i], 4, colours[i]);
}

static bool
draw_person(RvPicture *p, JsonObject *person, double width, double height, GError **error)
{
    static const struct {
        const char *key;
        guint8 colour[3];
    } parts[] = { { "hand_left_keypoints_2d", { 0, 0, 255 } },
                  { "hand_right_keypoints_2d", { 0, 0, 255 } },
                  { "face_keypoints_2d", { 255, 255, 255 } } };
    Point points[MOST_POINTS], body[BODY];
    int count = read_points(person, "pose_keypoints_2d", width, height, points);
    if (count != 0 && count != BODY && count != 25)
        return rv_error_set(error, RV_ERROR_INVALID, "pose_keypoints_2d",
                            "give 18 or 25 points of x, y, confidence", "this is no body");
    for (int i = 0; i < BODY && count > 0; i++)
        body[i] = points[count == 25 ? from_25[i] : i];
    if (count > 0)
        draw_body(p, body);
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
        count = read_points(person, parts[i].key, width, height, points);
        if (count < 0)
            return rv_error_set(error, RV_ERROR_INVALID, parts[i].key,
                                "give x, y and confidence of each point", "these are no keypoints");
        for (int j = 0; j < count; j++)
            if (points[j].known)
                draw_joint(p, points[j], i < 2 ? 4 : 3, parts[i].colour);
    }
    return true;
}

static JsonObject *
root_object(JsonParser *parser)
{
    JsonNode *root = json_parser_get_root(parser);
    if (root != NULL && JSON_NODE_HOLDS_ARRAY(root) && json_array_get_length(json_node_get_array(root)) > 0)
        root = json_array_get_element(json_node_get_array(root), 0);
    return root != NULL && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
}

static double
canvas(JsonObject *object, const char *key, double usual)
{
    JsonNode *node = json_object_get_member(object, key);
    double value = node != NULL && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_double(node) : 0.0;
    return value >= 1.0 && value < 1e6 ? value : usual;
}

RvPicture *
rv_openpose_draw(const char *json, gssize length, int width, int height, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) cause = NULL;
    gsize size = length < 0 ? strlen(json) : (gsize)length;
    bool is_json =
        rv_json_is_shallow(json, size) && json_parser_load_from_data(parser, json, (gssize)size, &cause);
    JsonObject *object = is_json ? root_object(parser) : NULL;
    JsonNode *people = object != NULL ? json_object_get_member(object, "people") : NULL;
    if (people == NULL || !JSON_NODE_HOLDS_ARRAY(people) ||
        json_array_get_length(json_node_get_array(people)) > MOST_PEOPLE) {
        rv_error_set(error, RV_ERROR_INVALID, "pose", "give {\"people\": [{\"pose_keypoints_2d\": [...]}]}",
                     "this is no list of at most %d poses", MOST_PEOPLE);
        return NULL;
    }
    g_autoptr(RvPicture) picture = rv_picture_new(width, height, false, error);
    if (picture == NULL)
        return NULL;
    memset(picture->rgb, 0, 3 * (gsize)width * (gsize)height);
    JsonArray *list = json_node_get_array(people);
    for (guint i = 0; i < json_array_get_length(list); i++) {
        JsonNode *person = json_array_get_element(list, i);
        if (!JSON_NODE_HOLDS_OBJECT(person)) {
            rv_error_set(error, RV_ERROR_INVALID, "people", "give objects with pose_keypoints_2d",
                         "entry %u is no person", i);
            return NULL;
        }
        if (!draw_person(picture, json_node_get_object(person), canvas(object, "canvas_width", width),
                         canvas(object, "canvas_height", height), error))
            return NULL;
    }
    return g_steal_pointer(&picture);
}
