/* Activations that a kernel applies as it stores; zoo_keras/ops/linalg.py holds their names. From
 * ZK_GELU on they are for matrix products only, not for convolutions. */
#ifndef ZK_ACTIVATION_H
#define ZK_ACTIVATION_H
enum { ZK_LINEAR, ZK_RELU, ZK_TANH, ZK_SIGMOID, ZK_RELU6, ZK_GELU, ZK_GELU_TANH, ZK_SILU };
#endif
