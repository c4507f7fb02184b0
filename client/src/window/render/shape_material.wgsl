// The one shader of everything that the window paints: vertex colours, tinted per instance.
//
// normal.xy  the slope of a facet, for the light from the upper left
// normal.z   1 fades from the mesh's origin to one unit from it: light and smoke are squares that fade
// uv.x       0 covers the background, 1 adds light to it
// uv.y       the vertex's share of the instance's tint
// tag        the instance's tint: red, green, blue (sRGB) and opacity, 8 bits each, red lowest

#import bevy_sprite::mesh2d_functions as mesh_functions

struct Vertex {
    @builtin(instance_index) instance_index: u32,
    @location(0) position: vec3<f32>,
    @location(1) normal: vec3<f32>,
    @location(2) uv: vec2<f32>,
    @location(4) color: vec4<f32>,
};

struct Painted {
    @builtin(position) position: vec4<f32>,
    @location(0) color: vec4<f32>,
    // Position in the mesh, and whether it fades.
    @location(1) soft: vec3<f32>,
};

const LIGHT: vec2<f32> = vec2<f32>(-0.55, 0.83);

@vertex
fn vertex(vertex: Vertex) -> Painted {
    let world_from_local = mesh_functions::get_world_from_local(vertex.instance_index);
    let world = mesh_functions::mesh2d_position_local_to_world(
        world_from_local,
        vec4<f32>(vertex.position, 1.0),
    );

    let tag = mesh_functions::get_tag(vertex.instance_index);
    let bytes = vec4<u32>(tag & 255u, (tag >> 8u) & 255u, (tag >> 16u) & 255u, (tag >> 24u) & 255u);
    let tint = vec4<f32>(bytes) / 255.0;
    let linear_tint = pow(tint.rgb, vec3<f32>(2.2));

    let lean_length = length(vertex.normal.xy);
    var lit = 1.0;
    if lean_length > 0.001 {
        let lean = (world_from_local * vec4<f32>(vertex.normal.xy, 0.0, 0.0)).xy;
        lit = 1.0 + lean_length * dot(normalize(lean), LIGHT);
    }

    let rgb = vertex.color.rgb * mix(vec3<f32>(1.0), linear_tint, vertex.uv.y) * lit;
    let alpha = vertex.color.a * tint.a;
    var out: Painted;
    out.position = mesh_functions::mesh2d_position_world_to_clip(world);
    // Premultiplied, so that covering and adding share one blend state, and one pipeline.
    out.color = vec4<f32>(rgb * alpha, alpha * (1.0 - vertex.uv.x));
    out.soft = vec3<f32>(vertex.position.xy, vertex.normal.z);
    return out;
}

@fragment
fn fragment(in: Painted) -> @location(0) vec4<f32> {
    let left = clamp(1.0 - length(in.soft.xy), 0.0, 1.0);
    return in.color * mix(1.0, left * left * left, in.soft.z);
}
