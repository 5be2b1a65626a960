// The C interface of the native engine. Python calls it with ctypes; bertedge/engines/native/library.py mirrors it.
//
// A model is described by plain structs that point at the tensors of a bundle. be_open checks every size, and copies
// all but the values of the tables, which must stay where they are until be_close. Fields have fixed widths, so the
// layout is the same for every compiler.
#pragma once
#include <stdint.h>

#if defined(_WIN32)
#define BE_API __declspec(dllexport)
#else
#define BE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Raise it with every change of this file; library.py refuses another number.
#define BE_ABI 1

enum be_dtype { BE_FLOAT32 = 0, BE_FLOAT16 = 1, BE_INT8 = 2, BE_UINT8 = 3 };

enum be_activation { BE_IDENTITY = 0, BE_GELU = 1, BE_GELU_TANH = 2, BE_RELU = 3, BE_SILU = 4, BE_TANH = 5 };

// What a head reads: the states of every token, of the masked tokens, of the first token of each text, the mean of all
// states of a text, or the pooler's output.
enum be_reads { BE_EVERY = 0, BE_MASKED = 1, BE_FIRST = 2, BE_MEAN = 3, BE_POOLER = 4 };

// A tensor in C order. No data: the model has no such tensor. The data need not be aligned.
typedef struct be_tensor {
  const void* data;
  uint64_t bytes;
  int32_t dtype;  // be_dtype
  int32_t unused;
} be_tensor;

// A part of a linear layer's weight: some of its outputs. y = ((x - shifts) * reciprocals) W + bias.
typedef struct be_matrix {
  int32_t outputs;
  int32_t by_output;         // 0: weight is (inputs, outputs); 1: (outputs, inputs)
  be_tensor weight;          // float32, float16, or int8 with a scale
  be_tensor bias;            // float32 (outputs)
  be_tensor scale;           // float32 (outputs), for int8 weights
  be_tensor shifts;          // float32 (inputs), or none
  be_tensor reciprocals;     // float32 (inputs), or none
  be_tensor outlier_weight;  // float16 (outliers, outputs), or none
} be_matrix;

// Its matrices follow one another along the outputs. All have the same kind of weight.
typedef struct be_linear {
  int32_t inputs;
  int32_t outputs;  // 0: there is no such layer
  int32_t terms;    // int8 weights: int8 terms of an activation, 1 or 2
  int32_t matrix_count;
  const be_matrix* matrices;
  const int32_t* outliers;  // inputs that are multiplied in float, ascending
  int32_t outlier_count;
  int32_t unused;
} be_linear;

typedef struct be_norm {
  be_tensor weight;  // float32 (channels); none: there is no such layer norm
  be_tensor bias;    // float32 (channels)
} be_norm;

// A table of float rows: values * scale, plus exact_rows[exact_index[row]] * exact_scale[...], all times reciprocals.
typedef struct be_table {
  int32_t rows;  // 0: there is no such table
  int32_t columns;
  be_tensor values;       // float32, float16 or int8 (rows, columns)
  be_tensor scale;        // float32 (rows), for int8 values
  be_tensor reciprocals;  // float32 (columns), or none
  be_tensor exact_index;  // uint8 (rows), or none; 0: nothing is added
  be_tensor exact_rows;   // int8 (exact_count, columns)
  be_tensor exact_scale;  // float32 (exact_count)
  int32_t exact_count;
  int32_t unused;
} be_table;

typedef struct be_block {
  be_linear qkv, attention_output, intermediate, output;
  // Post-norm: after attention and after the feed-forward network, both with the sum. Pre-norm: before them.
  be_norm attention_norm, feed_forward_norm;
  int32_t reach;     // keys farther away than this are not read; 0: all are read
  float rope_theta;  // 0: no rotation
} be_block;

// logits = last(norm(activation(dense(x)))); dense with its activation, and norm, may be missing.
typedef struct be_head {
  int32_t reads;       // be_reads
  int32_t activation;  // be_activation
  be_linear dense;
  be_norm norm;
  be_linear last;
} be_head;

typedef struct be_model {
  int32_t abi;        // BE_ABI
  int32_t hidden;     // width of the states
  int32_t embedding;  // width of the embeddings
  int32_t attention_heads;
  int32_t intermediate;     // width of the feed-forward network, after the gate
  int32_t max_length;       // most tokens of a text
  int32_t position_offset;  // row of the position table of the first token
  int32_t pre_norm, gated;  // 0 or 1
  int32_t activation;       // be_activation of the feed-forward network
  float epsilon;            // of all layer norms
  int32_t block_count;
  const be_block* blocks;
  be_table words, positions, token_types;
  be_norm embeddings_norm;
  be_linear projection;     // of the embeddings, if embedding != hidden
  be_norm final_norm;       // after the last block, of pre-norm models
  be_tensor relative_bias;  // float32 (attention_heads, 2 * reach + 1), or none
  be_linear pooler;         // tanh(pooler(first)), or none
  int32_t head_count;
  int32_t mapped;  // 1: all tensors lie in read-only mappings of files, so pages that were read may be dropped
  const be_head* heads;
} be_model;

// Some texts, one after another without padding.
typedef struct be_texts {
  int32_t count;
  int32_t masked_count;
  const int32_t* starts;  // (count + 1): the first token of each text, and the number of all tokens
  const int64_t* ids;     // (tokens)
  const int64_t* types;   // (tokens); may be null if the model has no token types
  const int32_t* masked;  // (masked_count): tokens that some heads read, counted over all texts, in any order
} be_texts;

// Where outputs are written, float32. A null pointer: this output is not wanted and costs nothing.
typedef struct be_outputs {
  float* states;        // (tokens, hidden)
  float* pooler;        // (count, hidden)
  float* const* heads;  // for each head (tokens | masked_count | count, outputs), by what it reads
} be_outputs;

// The time of one step of a call.
typedef struct be_step {
  const char* name;     // lives until the next be_profile of the engine
  double milliseconds;  // from the end of the step before to the end of this one
} be_step;

typedef struct be_engine be_engine;

// Returned by the functions below; the reason is written to `error`, which has `error_size` bytes.
enum be_status { BE_OK = 0, BE_BAD_MODEL = 1, BE_BAD_INPUT = 2, BE_UNFIT_CPU = 3, BE_NO_MEMORY = 4 };

BE_API int32_t be_abi(void);

// Names of the kernels in this library, best first, separated by spaces; and of those that this CPU can run.
BE_API const char* be_kernels(void);
BE_API const char* be_kernels_here(void);

// Why this CPU does not run a kernel, in a few words; an empty text if it does.
BE_API const char* be_why_not(const char* kernel);

// Open a model. `kernel`: a name of be_kernels, or an empty text for the best one here. `threads`: of one call, 1 or
// more.
BE_API int32_t be_open(const be_model* model, int32_t threads, const char* kernel, be_engine** engine, char* error,
                       int32_t error_size);

BE_API void be_close(be_engine* engine);

// The name of the kernel that the engine runs.
BE_API const char* be_kernel(const be_engine* engine);

// Run texts. Any number of threads may call it at once. `alone`: compute on the calling thread only; otherwise the
// engine's threads share the work, if no other call has them. A text's outputs are the same to the bit in both cases.
BE_API int32_t be_run(be_engine* engine, const be_texts* texts, const be_outputs* outputs, int32_t alone, char* error,
                      int32_t error_size);

// As be_run with all threads, which share rows, and write the time of each step on the calling thread; returns the
// number of steps, at most `capacity`; below zero: minus a be_status.
BE_API int32_t be_profile(be_engine* engine, const be_texts* texts, const be_outputs* outputs, be_step* steps,
                          int32_t capacity, char* error, int32_t error_size);

// To be called in a forked child before the engine is used there: threads are started again, weights stay shared.
BE_API void be_after_fork(be_engine* engine);

// Bytes that the engine has allocated: packed weights, and work space of the calls so far.
BE_API uint64_t be_memory(const be_engine* engine);

#ifdef __cplusplus
}
#endif
