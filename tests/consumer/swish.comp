#version 460
/* acme.swish for Vulkan, in GLSL of its author's own: the address of the parameters comes as a push constant, the
 * parameters begin with addresses. swish_vulkan.c fills them. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint backward = 0;
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer floats {
    float v[];
};
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer swish_params {
    floats x, dy, y;
    uint n;
    float beta;
};
layout(push_constant) uniform root {
    swish_params p;
};

void main() {
    for (uint i = gl_GlobalInvocationID.x; i < p.n; i += gl_NumWorkGroups.x * 64) {
        const float x = p.x.v[i], s = 1.0 / (1.0 + exp(-p.beta * x));
        p.y.v[i] = backward != 0 ? p.dy.v[i] * (s + p.beta * x * s * (1.0 - s)) : x * s;
    }
}
