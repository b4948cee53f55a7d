/* The elementwise operations that a chain instruction can hold, in the order of their numbers:
 * cheap ones first, from `divide` on those that cost about ten times as much. Values are 32 bits
 * wide: float, int32 (_int), or a mask of ones or zeros (comparisons, and, or, xor, not). */
#ifndef ZK_TILES_H
#define ZK_TILES_H
/* clang-format off */
#define ZK_TILES(X)                                                                                \
    X(copy) X(select) X(and) X(or) X(xor) X(not)                                                   \
    X(float_from_int) X(int_from_float) X(float_from_bool) X(int_from_bool)                        \
    X(bool_from_float) X(bool_from_int)                                                            \
    X(equal) X(not_equal) X(less) X(less_equal) X(isnan) X(isinf) X(isfinite)                      \
    X(equal_int) X(not_equal_int) X(less_int) X(less_equal_int)                                    \
    X(add) X(subtract) X(multiply) X(multiply_add) X(add_relu) X(maximum) X(minimum)               \
    X(negative) X(abs) X(sign) X(floor) X(ceil) X(round) X(square) X(clip)                         \
    X(relu) X(relu_grad) X(relu6) X(relu6_grad) X(leaky_relu) X(tanh_grad) X(sigmoid_grad)         \
    X(add_int) X(subtract_int) X(multiply_int) X(maximum_int) X(minimum_int) X(abs_int)            \
    X(sign_int) X(left_shift_int) X(right_shift_int) X(round_bfloat16) X(to_bfloat16) X(from_bfloat16)                                                                                 \
    X(divide) X(sqrt) X(rsqrt) X(reciprocal) X(exp) X(expm1) X(log) X(log1p) X(sin) X(cos)         \
    X(erf) X(tanh) X(sigmoid) X(softplus) X(elu) X(sigmoid_cross_entropy) X(power)                 \
    X(floor_divide) X(mod) X(floor_divide_int) X(mod_int) X(gcd_int) X(lcm_int) X(nextafter)                                         \
    X(exp2) X(tan) X(arcsin) X(arccos) X(arctan) X(arctan2) X(sinh) X(cosh) X(arcsinh) X(arccosh)  \
    X(arctanh) X(erfinv)                                                                           \
    X(gelu) X(gelu_tanh) X(silu) X(gelu_grad) X(gelu_tanh_grad) X(silu_grad)
/* clang-format on */
#define ZK_COUNT_(name) +1
#define ZK_NTILES (0 ZK_TILES(ZK_COUNT_))
#endif
