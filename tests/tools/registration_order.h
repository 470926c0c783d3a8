/* registration_order.h - the order in which torch's named_parameters() gives the parameters of the networks
 * of diffusers and transformers: modules as their constructors register them, depth first. */
#pragma once

/* Compares two dotted parameter names, as strcmp does; aborts on a module's name that it does not know. */
int registration_order(const char *a, const char *b);
