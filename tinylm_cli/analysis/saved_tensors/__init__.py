"""What autograd saves of a forward pass for the backward pass, tensor by tensor, part by part as the model has them.

An operation keeps what its derivative needs: a linear map its input; a product both factors; a norm its input and the
statistics of each vector; softmax, ReLU, tanh and sigmoid what they put out; an addition nothing. A tensor that
several operations keep has one name here, and is held once.
"""
