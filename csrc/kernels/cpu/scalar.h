// One element at a time, in code that every CPU runs: for lanes that a vector kernel cannot decide.
#pragma once

namespace torch_sigmoid_ext::kernels::cpu {

template <class T>
struct Complex {
  T real, imaginary;
};

// Not inline: a copy compiled for a wide instruction set could otherwise become everyone's.
float sigmoid_scalar(float input);
double sigmoid_scalar(double input);
Complex<float> sigmoid_scalar(Complex<float> input);
Complex<double> sigmoid_scalar(Complex<double> input);

// σ(input) as float32, from what a kernel of double precision makes of it.
float rounded_scalar(float input, double sigmoid);

}  // namespace torch_sigmoid_ext::kernels::cpu
