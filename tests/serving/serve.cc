// Loads a SavedModel with tensorflow::LoadSavedModel, as TensorFlow Serving does, and
// runs a signature on rows of floats. There is no Python in it.
//
//   serve DIR                                   loads, checks the ops
//   serve DIR SIGNATURE INPUT DIM... < floats   prints "name value value ..."
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/tensor.h"

namespace tf = tensorflow;

// Every op must be a function of the graph or registered in this process.
int UnknownOps(const tf::GraphDef& graph) {
  const tf::FunctionLibraryDefinition known(tf::OpRegistry::Global(), graph);
  int unknown = 0;
  auto check = [&](const tf::NodeDef& node) {
    const tf::OpDef* op = nullptr;
    if (known.LookUpOpDef(node.op(), &op).ok()) return;
    std::cerr << "unknown op " << node.op() << "\n";
    ++unknown;
  };
  for (const auto& node : graph.node()) check(node);
  for (const auto& name : known.ListFunctionNames())
    for (const auto& node : known.Find(name)->node_def()) check(node);
  return unknown;
}

void Print(const std::string& name, const tf::Tensor& tensor) {
  std::printf("%s", name.c_str());
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    if (tensor.dtype() == tf::DT_FLOAT)
      std::printf(" %.9g", tensor.flat<float>()(i));
    else
      std::printf(" %lld", static_cast<long long>(tensor.flat<int64_t>()(i)));
  }
  std::printf("\n");
}

int main(int argc, char** argv) {
  tf::SavedModelBundle bundle;
  tf::SessionOptions session_options;
  tf::RunOptions run_options;
  auto status = tf::LoadSavedModel(session_options, run_options, argv[1], {"serve"}, &bundle);
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 2;
  }
  if (UnknownOps(bundle.meta_graph_def.graph_def())) return 3;
  if (argc < 4) return 0;

  const auto& signature = bundle.GetSignatures().at(argv[2]);
  tf::TensorShape shape;
  for (int i = 4; i < argc; ++i) shape.AddDim(std::atoi(argv[i]));
  tf::Tensor x(tf::DT_FLOAT, shape);
  const size_t count = x.NumElements();
  if (std::fread(x.flat<float>().data(), sizeof(float), count, stdin) != count) return 4;

  std::vector<std::string> keys, names;
  for (const auto& output : signature.outputs()) {
    keys.push_back(output.first);
    names.push_back(output.second.name());
  }
  std::vector<tf::Tensor> outputs;
  status = bundle.session->Run({{signature.inputs().at(argv[3]).name(), x}}, names, {}, &outputs);
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 5;
  }
  for (size_t i = 0; i < outputs.size(); ++i) Print(keys[i], outputs[i]);
}
