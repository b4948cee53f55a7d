/* The recurrent layers' kernels: whole sequences, forward and backward. In: projected inputs, the
 * recurrent matrix, first states. Out: states, and what backward needs. Attributes are at the
 * places ZK_RNN_*. One file, since all of them share the tiles of a product. */
#include "gru.h"
#include "gru_reset_first.h"
#include "lstm.h"
#include "simple_rnn.h"

/* Forward also with the recurrent matrix in int8: panels of pack_int8 and 1 / their scale, wstep
 * (gates n), in its place. */
#define FORWARD(name) \
    {#name, name, rnn_forward_scratch}, { #name "_int8", name, rnn_forward_scratch }
#define BACKWARD(name) {#name, name, rnn_back_scratch}
const zk_kernel ZK_TABLE(recurrent)[] = {FORWARD(simple_rnn),
                                         BACKWARD(simple_rnn_grad),
                                         FORWARD(lstm),
                                         BACKWARD(lstm_grad),
                                         FORWARD(gru),
                                         BACKWARD(gru_grad),
                                         FORWARD(gru_reset_first),
                                         BACKWARD(gru_reset_first_grad),
                                         {0}};
